"""Writing files: a regular file is replaced whole or not at all; a device or pipe is written to, never replaced."""

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
    """Make a folder, and check that it can be written to.  Raises a one-line UsageError if not."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path).close()  # os.access is wrong for root, and on a full disk
    except OSError as error:
        raise UsageError(f"folder {path} cannot be written to: {error.strerror}") from error


def make_room_for(path: Path) -> None:
    """Make the folder of a file that will be written at the end of the work.  Raises UsageError if the file cannot be
    written, before any work is done in vain."""
    if not path.name or path.is_dir():
        raise UsageError(f"{path} is a folder; expected a file")
    target = target_of(path)
    if is_special(target):
        if not os.access(target, os.W_OK):
            raise UsageError(f"{path} cannot be written to")
        return
    make_folder(target.parent)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal.  Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def target_of(path: Path) -> Path:
    """The file that a symbolic link leads to, so that the link stays; the path itself if it is not a link.

    Raises UsageError for links that lead to each other.
    """
    if not path.is_symlink():
        return path
    try:
        return path.resolve()
    except (OSError, RuntimeError) as error:
        raise UsageError(f"{path} is a link that leads nowhere ({error})") from error


def is_special(path: Path) -> bool:
    """Whether the path exists and is neither a regular file nor a folder: a device, a pipe, a socket."""
    return path.exists() and not path.is_file() and not path.is_dir()


def write_atomically(path: Path, write: Callable[[Path], None], *, keep: Path | None = None) -> None:
    """Let `write` fill a file beside `path`, then rename it to `path`: after a crash at any moment, `path` holds the
    old content or the new, never a part.  Raises OSError if the folder cannot be written to.

    The file has the permissions of any new file.  Of a link, the target is replaced.  A device or a pipe is written to
    instead.  Parts of the same file that killed processes left an hour ago or more are removed.
    keep: where the old content goes; after a crash between the two renames it is there, and `path` does not exist."""
    path = target_of(path)
    if is_special(path):
        _write_through(path, write)
        return
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    remove_stale(path.parent, f".{path.name}.*.part")
    try:
        part.touch()
        permissions = part.stat().st_mode
        write(part)
        give_permissions(part, permissions)
        sync(part)
        if keep is not None and path.exists():
            path.replace(keep)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def give_permissions(path: Path, mode: int) -> None:
    """Give a file the permissions of another, where they differ: safetensors lets only the owner read its files, and
    some file systems refuse any change."""
    if path.stat().st_mode != mode:
        path.chmod(mode)


def sync(path: Path) -> None:
    """Flush a file's content to the disk."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def remove_stale(folder: Path, pattern: str) -> None:
    """Remove files and folders whose names match and that killed processes left an hour ago or more."""
    for left in folder.glob(pattern):
        with contextlib.suppress(OSError):
            if time.time() - left.lstat().st_mtime > STALE_SECONDS:
                shutil.rmtree(left) if left.is_dir() and not left.is_symlink() else left.unlink()


def _write_through(path: Path, write: Callable[[Path], None]) -> None:
    """Fill a file elsewhere, then copy its content into a device or a pipe, which is not replaced."""
    with tempfile.TemporaryDirectory() as room:
        part = Path(room) / path.name
        write(part)
        with part.open("rb") as source, path.open("wb", buffering=0) as target:
            shutil.copyfileobj(source, target)


def remove_leftovers(folder: Path) -> None:
    """Delete the parts that killed processes left; for a folder that no other process writes to meanwhile."""
    for part in folder.glob(".*.part"):
        part.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Replace a text file."""
    write_atomically(path, lambda part: _write(part, text))


def write_json(path: Path, value: Any) -> None:
    """Replace a JSON file, indented for reading."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
