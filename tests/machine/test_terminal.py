"""A run shows its progress on any terminal.  A small emulator gives the screen of a program in a pseudo-terminal."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time
from pathlib import Path
from typing import NamedTuple

import pytest

from retrieval_gap.experiments.trained.alone import LINES

TRAIN = (
    "train --task index --mode direct --n 8 --arch lstm --size tiny --samples {samples} --batch-size 8"
    " --eval-samples 20 --device cpu --threads 1"
)
CONTROL_C = b"\x03"
SECONDS = 120


class Shown(NamedTuple):
    """A program's exit status, all that it wrote, and the rows of the screen at its end."""

    status: int
    written: str
    rows: list[str]


def run_in_terminal(words: list[str], folder: Path, columns: int, *, interrupt: bool = False, **setting: str) -> Shown:
    """What a command shows in a terminal of this width; with `interrupt`, ^C is typed after the first report."""
    pid, master = pty.fork()
    if pid == 0:
        os.chdir(folder)
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        kept = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "NO_COLOR", "FORCE_COLOR")}
        os.execve(
            sys.executable, [sys.executable, "-m", "retrieval_gap.cli", *words], {**kept, "TERM": "xterm", **setting}
        )
    written, started = b"", time.monotonic()
    while True:
        if time.monotonic() - started > SECONDS:
            os.kill(pid, signal.SIGKILL)
        if select.select([master], [], [], 0.1)[0]:
            try:
                some = os.read(master, 65_536)
            except OSError:  # how Linux ends a pseudo-terminal
                break
            if not some:
                break
            written += some
        if interrupt and b"samples/s" in written:
            os.write(master, CONTROL_C)
            interrupt = False
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    os.close(master)
    text = written.decode()
    return Shown(status, text, screen(text, columns))


def screen(text: str, columns: int) -> list[str]:
    """The rows that this text gives on a terminal that knows \\r, \\n, and how to erase a line and go up."""
    rows, row, column = [""], 0, 0
    for sign in re.findall(r"\x1b\[[?0-9;]*[A-Za-z]|.|\r|\n", text):
        match sign[-1] if sign.startswith("\x1b") else sign:
            case "K":
                rows[row] = ""
            case "A":
                row -= int(sign[2:-1] or 1)
            case "\r":
                column = 0
            case "\n":
                row += 1
            case _ if not sign.startswith("\x1b"):
                if column == columns:
                    row, column = row + 1, 0
                rows += [""] * (row + 1 - len(rows))
                rows[row] = rows[row][:column].ljust(column) + sign + rows[row][column + 1 :]
                column += 1
        rows += [""] * (row + 1 - len(rows))
    return rows


def progress(rows: list[str]) -> list[str]:
    return [row for row in rows if re.search(r"\d%", row)]


@pytest.mark.slow
@pytest.mark.parametrize("columns", [20, 80])
def test_one_line_is_updated_in_a_terminal_of_any_width(columns: int, tmp_path: Path) -> None:
    shown = run_in_terminal(TRAIN.format(samples=160).split(), tmp_path, columns)
    assert shown.status == 0, shown.written
    (line,) = progress(shown.rows)
    assert "100% decoding" in line
    assert shown.written.count("\x1b[?25l") == shown.written.count("\x1b[?25h")  # the cursor is shown again
    assert "accuracy " in shown.rows[shown.rows.index(line) + 1]


def test_an_interrupted_run_leaves_its_line_and_says_how_to_go_on(tmp_path: Path) -> None:
    shown = run_in_terminal(TRAIN.format(samples=10**9).split(), tmp_path, 80, interrupt=True)
    assert shown.status == 1
    rows = [row for row in shown.rows if row]
    assert len(progress(rows)) == 1
    assert re.fullmatch(r"retrieval-gap: stopped at sample \d+ of 1000000000; the same command resumes", rows[-1])
    assert shown.written.count("\x1b[?25l") == shown.written.count("\x1b[?25h")


def test_a_terminal_that_cannot_update_a_line_gets_new_lines(tmp_path: Path) -> None:
    shown = run_in_terminal(TRAIN.format(samples=160).split(), tmp_path, 80, TERM="dumb")
    assert shown.status == 0
    assert "\x1b" not in shown.written
    assert 2 <= shown.written.count("samples/s") <= LINES
