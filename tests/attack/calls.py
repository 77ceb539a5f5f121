"""Calls the command line in this process, checks what every call promises, and confines writes to a folder."""

import contextlib
import io
import os
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from retrieval_gap.cli import main

LONGEST = 500  # characters in a line of error
SECONDS = 60  # of processor time, for one call
PATIENCE = 300  # seconds in all: a call that other work slows down does not hang
WARNINGS = (" samples/s", "the first loss is", "is damaged; resuming from the previous one", "warning: ")
UNFORESEEN = ("--debug shows the traceback", "retrieval-gap: output:")  # one line, but of no use to its reader
CACHES = ("__pycache__", ".cache", "matplotlib", "fontlist")
_room: list[Path] = []  # the folder that the hook below allows; a hook cannot be removed


class EscapeError(BaseException):
    """A call is about to write outside its folder.  No `except Exception` catches this."""


@dataclass(frozen=True)
class Told:
    """A call's exit status, and what it wrote."""

    words: Sequence[str]
    status: int
    out: str
    err: str

    def broken(self) -> str:
        """Which promise is broken, or ""."""
        lines = [line for line in self.err.splitlines() if not any(mark in line for mark in WARNINGS)]
        if "Traceback" in self.err + self.out:
            return "a traceback"
        if any(mark in self.err for mark in UNFORESEEN):
            return "an error that nobody foresaw"
        if self.status not in (0, 1, 2):
            return f"status {self.status}"
        if self.status and len(lines) != 1:
            return f"{len(lines)} lines of error"
        if any(len(line) > LONGEST for line in lines):
            return f"a line of {max(map(len, lines))} characters"
        return ""


class HangError(BaseException):
    """A call takes too long.  No `except Exception` catches this."""


def call(words: Sequence[str]) -> Told:
    """What a command gives in this process.  Raises HangError if it is not done in time."""

    def on_alarm(number: int, frame: FrameType | None) -> None:
        raise HangError(" ".join(words))

    out, err = io.StringIO(), io.StringIO()
    before = {number: signal.signal(number, on_alarm) for number in (signal.SIGALRM, signal.SIGPROF)}
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    signal.alarm(PATIENCE)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                status = main(list(words))
            except SystemExit as stop:  # after --help
                status = stop.code if isinstance(stop.code, int) else 0
    finally:
        signal.alarm(0)
        signal.setitimer(signal.ITIMER_PROF, 0)
        for number, handler in before.items():
            signal.signal(number, handler)
    return Told(words, status, out.getvalue(), err.getvalue())


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    """Raises EscapeError before a file outside the room is opened for writing."""
    if event != "open" or not _room or not isinstance(arguments[0], str | bytes):
        return
    path, mode, flags = arguments
    writes = any(letter in (mode or "") for letter in "wax+") or (flags or 0) & (os.O_WRONLY | os.O_RDWR)
    name = os.path.realpath(os.fsdecode(path))
    if writes and name != os.devnull and not f"{name}{os.sep}".startswith(f"{_room[0]}{os.sep}"):
        if any(part in name for part in CACHES):
            return
        raise EscapeError(f"{name} is about to be written")


sys.addaudithook(_hook)


@contextmanager
def nothing_leaves(folder: Path) -> Iterator[None]:
    """Inside the context, this folder is the current directory, and temporary files too are made in it."""
    before, here = dict(os.environ), Path.cwd()
    room = folder / "tmp"
    room.mkdir(exist_ok=True)
    os.environ |= {"TMPDIR": str(room), "HOME": str(folder)}
    tempfile.tempdir = None  # otherwise the folder of an earlier test is used
    os.chdir(folder)
    _room.append(Path(os.path.realpath(folder)))
    try:
        yield
    finally:
        _room.clear()
        os.chdir(here)
        os.environ.clear()
        os.environ |= before
        tempfile.tempdir = None
