"""The terminal, where there is one: lines that are updated in place, and how wide a table may be."""

import os
import sys

from rich.console import Console, ConsoleDimensions

WIDTH = 240  # of a table, where there is no terminal
SPARE = 2  # columns that an updated line leaves to the ^C that terminals show, which else would push it up


def wide_console() -> Console:
    """Of standard output, for tables: as wide as the terminal, or as a file can take."""
    return Console() if _is_terminal(sys.stdout) else Console(width=WIDTH)


class LiveConsole(Console):
    """Of standard error.  It goes quiet where its reader goes away; rich would end the process."""

    def __init__(self) -> None:
        super().__init__(stderr=True, markup=False, highlight=False)

    @property
    def updates(self) -> bool:
        """Whether a line can be updated in place: not in a file, whatever FORCE_COLOR says, nor with TERM=dumb."""
        return _is_terminal(sys.stderr) and self.is_interactive

    @property
    def size(self) -> ConsoleDimensions:
        width, height = super().size
        return ConsoleDimensions(max(1, width - SPARE), height) if self.updates else ConsoleDimensions(width, height)

    @size.setter
    def size(self, new: tuple[int, int]) -> None:
        raise AttributeError("a terminal's size is its own")

    def on_broken_pipe(self) -> None:
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


def _is_terminal(stream: object) -> bool:
    isatty = getattr(stream, "isatty", None)
    try:
        return bool(isatty and isatty())
    except ValueError:  # of a stream that is closed
        return False
