"""Recognises files that should be UTF-8 text and are not, by their first bytes, and texts that UTF-8 cannot hold."""

import re
from pathlib import Path

_BEGINNINGS = {
    b"\x1f\x8b": "it is gzip-compressed; unpack it first (gunzip)",
    b"BZh": "it is bzip2-compressed; unpack it first (bunzip2)",
    b"\xfd7zXZ": "it is xz-compressed; unpack it first (unxz)",
    b"\x28\xb5\x2f\xfd": "it is zstd-compressed; unpack it first (unzstd)",
    b"PK\x03\x04": "it is a ZIP archive; unpack it first (unzip)",
    b"\xff\xfe": "it is UTF-16; convert it first (iconv -f UTF-16 -t UTF-8)",
    b"\xfe\xff": "it is UTF-16; convert it first (iconv -f UTF-16 -t UTF-8)",
    b"PAR1": "it is a Parquet file; its name has to end in .parquet",
}
_LOOKED_AT = 64
_SURROGATE = re.compile("[\ud800-\udfff]")
HALF_A_CHARACTER = "holds half a character (a lone surrogate)"


def no_text(path: Path) -> str:
    """What the file is and what to do, or "" if it may be text.  UTF-16 is recognised without its mark too.

    Raises OSError if it cannot be read.
    """
    with path.open("rb") as file:
        start = file.read(_LOOKED_AT)
    for beginning, told in _BEGINNINGS.items():
        if start.startswith(beginning):
            return told
    halves = start[::2], start[1::2]
    if len(start) >= 4 and any(not any(half) for half in halves):
        return _BEGINNINGS[b"\xff\xfe"]
    return ""


def holds_half_a_character(text: str) -> bool:
    """Whether a text has a lone surrogate, which JSON can spell but no file, model or terminal can take."""
    return bool(_SURROGATE.search(text))
