"""Files are replaced whole or not at all."""

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from retrieval_gap.machine.errors import UsageError


def make_folder(path: Path) -> None:
    """Makes a folder that will be written to.  Raises UsageError, one line, where that cannot be."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path).close()  # what os.access says does not hold for root, nor for a full disk
    except OSError as error:
        raise UsageError(f"folder {path} cannot be written to: {error.strerror}") from error


def make_room_for(path: Path) -> None:
    """Makes the folder of a file that is written at the end.  Raises UsageError where that will not work, so that the
    work before it is not done in vain."""
    if not path.name or path.is_dir():
        raise UsageError(f"{path} is a folder; the name of a file is wanted")
    make_folder(path.parent)


def write_atomically(path: Path, write: Callable[[Path], None], *, keep: Path | None = None) -> None:
    """Lets `write` fill a file beside `path`, then puts it in `path`'s place: after a crash at any moment, `path`
    holds the old content or the new, never a part.  Raises OSError where the folder cannot be written.

    keep: where the old content goes; after a crash between the two renames it is there, and nothing in `path`."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        write(part)
        sync(part)
        if keep is not None and path.exists():
            path.replace(keep)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Has a file's content on the disk."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def remove_leftovers(folder: Path) -> None:
    """Deletes the parts that killed processes left; for a folder that nobody else writes to meanwhile."""
    for part in folder.glob(".*.part"):
        part.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Replaces a text file."""
    write_atomically(path, lambda part: _write(part, text))


def write_json(path: Path, value: Any) -> None:
    """Replaces a JSON file, indented for reading."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
