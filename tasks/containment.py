"""Runs a user's code so that it can neither end the program silently nor run forever."""

import math
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

PATIENCE = "RETRIEVAL_GAP_PATIENCE"  # environment variable, in seconds
SECONDS = 120.0  # a user's file may import much, and compile
LONGEST = 1e8  # three years, which timers accept; more means no limit


class EndlessError(Exception):
    """A user's code did not finish in time."""


@contextmanager
def no_silent_exit() -> Iterator[None]:
    """Make `os._exit` raise SystemExit, as `sys.exit` does, so that the program can report what ended it."""
    before = os._exit

    def told_exit(status: int) -> NoReturn:
        raise SystemExit(f"os._exit({status}) is called")

    os._exit = told_exit
    try:
        yield
    finally:
        os._exit = before


@contextmanager
def contained() -> Iterator[None]:
    """For a short piece of a user's code: its import, or a trial of it.

    Raises EndlessError if it takes longer than SECONDS (or PATIENCE), only on the main thread, where signals arrive,
    and only between two steps of Python.  Raises RuntimeError if it leaves the standard output closed.
    """
    open_before = not sys.stdout.closed
    with no_silent_exit(), _limited(_seconds()):
        yield
    if open_before and sys.stdout.closed:
        raise RuntimeError("it closes the standard output, which the program still needs")


def _seconds() -> float:
    """The value of PATIENCE; SECONDS if it is 0 or not a number.  Below 0, or above LONGEST: no limit."""
    try:
        seconds = float(os.environ.get(PATIENCE, ""))
    except ValueError:
        return SECONDS
    return SECONDS if math.isnan(seconds) else seconds or SECONDS


@contextmanager
def _limited(seconds: float) -> Iterator[None]:
    on_main = threading.current_thread() is threading.main_thread()
    if (
        not on_main or not 0 < seconds <= LONGEST or signal.getitimer(signal.ITIMER_REAL)[0]
    ):  # an alarm already set takes precedence
        yield
        return

    def on_alarm(number: int, frame: FrameType | None) -> NoReturn:
        raise EndlessError(f"is not done after {seconds:g} s ({PATIENCE}=SECONDS waits longer)")

    before = signal.signal(signal.SIGALRM, on_alarm)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
