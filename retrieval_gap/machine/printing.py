"""Text output without API keys, without control characters for a terminal, and in any encoding of the stream."""

import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO, cast
from urllib.parse import quote

# Control characters except tab and line feed: text from a server or a file may hold sequences that move the cursor or
# rename the window.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
SHORTEST = 8  # characters: a shorter key is not a secret
_secrets: set[str] = set()


def keep_secret(value: str) -> None:
    """Make `redacted` replace this value from now on, also in its JSON and URL spellings.  Values shorter than SHORTEST
    are ignored, such as the "none" or "EMPTY" that local servers take: an answer may contain those words."""
    if len(value) >= SHORTEST:
        _secrets.update(
            {value, json.dumps(value)[1:-1], value.replace("/", r"\/"), quote(value), quote(value, safe="")}
        )


def redacted(text: str) -> str:
    """The text, with each secret replaced by "[key]"."""
    for secret in sorted(_secrets, key=len, reverse=True):
        text = text.replace(secret, "[key]")
    return text


def printable(text: str) -> str:
    """The text for a terminal or a log: redacted, with control characters as Python escapes."""
    return _CONTROL.sub(lambda found: ascii(found[0])[1:-1], redacted(text))


def print_safely(text: str) -> None:
    """Print a line that may hold text from outside the program."""
    print(printable(text))


@contextmanager
def reader_may_leave() -> Iterator[None]:
    """Within the context, an output whose reader leaves (`| head`) is discarded, and the work goes on."""
    before = sys.stdout
    sys.stdout = cast(TextIO, _Unread(before))
    try:
        yield
        sys.stdout.flush()
    finally:
        sys.stdout = before


class _Unread:
    """A stream whose reader may leave."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        return self._tried(lambda: self._stream.write(text)) or len(text)

    def flush(self) -> None:
        self._tried(self._stream.flush)

    def _tried(self, work: Callable[[], Any]) -> Any:
        try:
            return work()
        except BrokenPipeError:
            drop_output()


def drop_output() -> None:
    """Discard all output, pending and to come, so that the interpreter does not fail on it at exit."""
    if sys.stdout.closed:
        sys.stdout = nowhere()
    else:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def nowhere() -> TextIO:
    return open(os.devnull, "w")


def escape_unencodable(stream: TextIO) -> None:
    """Make a stream write characters that its encoding lacks as \\u escapes, instead of ending the program."""
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None:  # a stream of a test lacks it
        reconfigure(errors="backslashreplace")


def duration(seconds: float) -> str:
    """Seconds as text, in the largest unit of which there are two or more; else in seconds."""
    for size, name in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {name}"
    return f"{seconds:.0f} s"
