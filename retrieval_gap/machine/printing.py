"""What leaves the program as text: without keys, without what a terminal would act on, in whatever encoding it has."""

import json
import re
from typing import TextIO
from urllib.parse import quote

# Control characters but for tab and line feed: a server's or a file's text may hold sequences that move the cursor or
# rename the window.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
SHORTEST = 8  # characters of a key that is a secret
_secrets: set[str] = set()


def keep_secret(value: str) -> None:
    """From here on `redacted` replaces it, also as JSON and addresses spell it; but not a shorter one than SHORTEST,
    such as the "none" or "EMPTY" that local servers take: an answer may say that."""
    if len(value) >= SHORTEST:
        _secrets.update(
            {value, json.dumps(value)[1:-1], value.replace("/", r"\/"), quote(value), quote(value, safe="")}
        )


def redacted(text: str) -> str:
    """The text with each secret replaced by "[key]"."""
    for secret in sorted(_secrets, key=len, reverse=True):
        text = text.replace(secret, "[key]")
    return text


def printable(text: str) -> str:
    """For a terminal or a log: redacted, control characters as Python spells them."""
    return _CONTROL.sub(lambda found: ascii(found[0])[1:-1], redacted(text))


def say(text: str) -> None:
    """Prints a line that may hold others' text."""
    print(printable(text))


def take_any_text(stream: TextIO) -> None:
    """Has a stream of another encoding than UTF-8 write what it cannot hold as \\u escapes, not end the program."""
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None:  # a test's stream has none
        reconfigure(errors="backslashreplace")


def duration(seconds: float) -> str:
    """In the largest unit that leaves a digit before the point."""
    for size, name in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {name}"
    return f"{seconds:.0f} s"
