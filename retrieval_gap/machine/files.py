"""Files are replaced whole or not at all; what is no regular file is written to, and never replaced."""

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from retrieval_gap.machine.errors import UsageError

STALE_SECONDS = 3600.0


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
        raise UsageError(f"{path} is a folder; expected a file")
    target = target_of(path)
    if is_special(target):
        if not os.access(target, os.W_OK):
            raise UsageError(f"{path} cannot be written to")
        return
    make_folder(target.parent)


def sha256_of(path: Path) -> str:
    """Of a file's content, in hexadecimal.  Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def target_of(path: Path) -> Path:
    """The file that a link leads to, so that the link stays; the path itself where it is none.

    Raises UsageError for links that lead to each other.
    """
    if not path.is_symlink():
        return path
    try:
        return path.resolve()
    except (OSError, RuntimeError) as error:
        raise UsageError(f"{path} is a link that leads nowhere ({error})") from error


def is_special(path: Path) -> bool:
    """Whether there is something that is neither a regular file nor a folder: a device, a pipe, a socket."""
    return path.exists() and not path.is_file() and not path.is_dir()


def write_atomically(path: Path, write: Callable[[Path], None], *, keep: Path | None = None) -> None:
    """Lets `write` fill a file beside `path`, then puts it in `path`'s place: after a crash at any moment, `path`
    holds the old content or the new, never a part.  Raises OSError where the folder cannot be written.

    Behind a link its target is replaced.  A device or a pipe is written to instead.  Parts that killed processes left
    of the same file, an hour ago or more, are removed.
    keep: where the old content goes; after a crash between the two renames it is there, and nothing in `path`."""
    path = target_of(path)
    if is_special(path):
        _write_through(path, write)
        return
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    remove_stale(path.parent, f".{path.name}.*.part")
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


def remove_stale(folder: Path, pattern: str) -> None:
    """Removes what killed processes left an hour ago or more: files and folders whose names match."""
    for left in folder.glob(pattern):
        with contextlib.suppress(OSError):
            if time.time() - left.lstat().st_mtime > STALE_SECONDS:
                shutil.rmtree(left) if left.is_dir() and not left.is_symlink() else left.unlink()


def _write_through(path: Path, write: Callable[[Path], None]) -> None:
    """Fills a file elsewhere, then copies what it holds into a device or a pipe, which stays what it is."""
    with tempfile.TemporaryDirectory() as room:
        part = Path(room) / path.name
        write(part)
        with part.open("rb") as source, path.open("wb", buffering=0) as target:
            shutil.copyfileobj(source, target)


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
