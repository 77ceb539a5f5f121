"""The terminal, if there is one: lines updated in place, and the width of tables."""

import os
import sys
from contextlib import suppress
from typing import Any

from rich.console import Console, ConsoleDimensions

WIDTH = 240  # columns of a table without a terminal
SPARE = 2  # columns that an updated line leaves free for the ^C that terminals show, which would push the line up


def wide_console() -> Console:
    """A console on standard output for tables: as wide as the terminal, or WIDTH columns in a file."""
    return Console() if _is_terminal(sys.stdout) else Console(width=WIDTH)


class LiveConsole(Console):
    """A console on standard error.  It goes quiet when its reader or terminal is gone or its disk is full; rich would
    end the process."""

    def __init__(self) -> None:
        super().__init__(stderr=True, markup=False, highlight=False)

    @property
    def updates(self) -> bool:
        """Whether a line can be updated in place: not in a file, even with FORCE_COLOR, and not with TERM=dumb."""
        return _is_terminal(sys.stderr) and self.is_interactive

    @property
    def size(self) -> ConsoleDimensions:
        width, height = super().size
        return ConsoleDimensions(max(1, width - SPARE), height) if self.updates else ConsoleDimensions(width, height)

    @size.setter
    def size(self, new: tuple[int, int]) -> None:
        raise AttributeError("a terminal's size is its own")

    def __exit__(self, *exception: Any) -> None:
        try:
            super().__exit__(*exception)
        except OSError:
            self.on_broken_pipe()

    def on_broken_pipe(self) -> None:
        self.quiet = True
        with suppress(OSError):  # a stream of a test has no number
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


def _is_terminal(stream: object) -> bool:
    isatty = getattr(stream, "isatty", None)
    try:
        return bool(isatty and isatty())
    except ValueError:  # the stream is closed
        return False
