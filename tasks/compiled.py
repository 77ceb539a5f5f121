"""Sets numba's cache folder, named by a hash of the source, so that no edit or update can leave stale code in use.

numba's own cache checks the file of a function, not the files of the functions that it calls.  Compiled functions
import `njit` from this module, so that the folder is set before the first of them is defined.  Importing numba takes
0.2 s; code that compiles nothing does not wait for it.
"""

import hashlib
import os
import stat
import tempfile
from pathlib import Path

import numba
from numba import njit as njit

_TASKS = Path(__file__).resolve().parent
# The kernels are beside the tasks in an installed package, and in retrieval_gap/ in a checkout.
_COMPILED = (_TASKS, _TASKS.parent / "kernels", _TASKS.parent / "retrieval_gap" / "kernels")


def _use_cache_of_this_source() -> None:
    """Set the folder, unless NUMBA_CACHE_DIR is set."""
    if "NUMBA_CACHE_DIR" in os.environ:
        return
    digest = hashlib.sha256()
    for folder in _COMPILED:
        for path in sorted(folder.rglob("*.py")):
            digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes())
    directory = str(_cache_folder() / digest.hexdigest()[:16])
    setattr(numba.config, "CACHE_DIR", directory)  # noqa: B010 (numba sets its attributes at run time)


def _cache_folder() -> Path:
    """The user's cache folder, or a private temporary folder if that is not writable (a read-only home in a container):
    numba refuses to compile if it cannot store the result.  Cached code is executed, so a temporary folder that
    somebody else made, or may write to, is not used."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()) / "retrieval_gap"
    try:
        home.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=home).close()
    except (OSError, RuntimeError):
        return _temporary_folder()
    return home


def _temporary_folder() -> Path:
    folder = Path(tempfile.gettempdir()) / f"retrieval_gap-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o022
    return folder if ours else Path(tempfile.mkdtemp(prefix=f"{folder.name}-"))


_use_cache_of_this_source()
