"""Calls of the command line in this process, held to what every call promises; and a folder that nothing leaves."""

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

LONGEST = 500  # characters of an error's line
SECONDS = 60  # of the processor, for one call
PATIENCE = 300  # seconds that it may wait for something: other work beside slows a call down, and makes no hang
WARNINGS = (" samples/s", "the first loss is", "is damaged; going on from the one before", "warning: ")
UNFORESEEN = ("--debug shows the traceback", "retrieval-gap: output:")  # a line, but for nobody who reads it
CACHES = ("__pycache__", ".cache", "matplotlib", "fontlist")
_room: list[Path] = []  # what the hook below allows; a hook cannot be taken out again


class EscapeError(BaseException):
    """A call is about to write outside its folder; past every `except Exception`."""


@dataclass(frozen=True)
class Told:
    """What a call gave: its exit status, and what it wrote."""

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
    """A call takes too long; past every `except Exception`."""


def call(words: Sequence[str]) -> Told:
    """Runs a command here.  Raises HangError where it is not done in time."""

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
    """Stops, before it happens, whatever is opened to be written outside the room."""
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
    """Temporary files too are made in this folder while the context lasts; the current directory is there."""
    before, here = dict(os.environ), Path.cwd()
    room = folder / "tmp"
    room.mkdir(exist_ok=True)
    os.environ |= {"TMPDIR": str(room), "HOME": str(folder)}
    tempfile.tempdir = None  # else what an earlier test was told holds
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
