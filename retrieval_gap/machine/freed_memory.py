"""How memory is given back: that of training, and that of long tables."""

import ctypes
import gc
from collections.abc import Iterator
from contextlib import contextmanager

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # mallopt's numbers in glibc's malloc.h


def keep_freed_memory() -> bool:
    """Has this process keep what it frees for its next use, up to 2 GiB, where the C library is glibc.

    By default glibc hands large blocks back to the system, and every training step takes them again page by page:
    hundreds of page faults a step, which where memory is virtual cost up to half of it.  Returns whether it took.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    largest = 2**31 - 1
    return bool(
        mallopt(_TRIM_THRESHOLD, largest) and (mallopt(_MMAP_THRESHOLD, largest) or mallopt(_MMAP_THRESHOLD, 2**25))
    )


@contextmanager
def without_collection() -> Iterator[None]:
    """No garbage collection while the context lasts: a long table is millions of objects without cycles, and Python
    looks at all of them again and again."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
