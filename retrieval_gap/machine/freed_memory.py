"""How memory is freed: that of training steps, and that of long tables."""

import ctypes
import gc
from collections.abc import Iterator
from contextlib import contextmanager

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # mallopt's numbers in glibc's malloc.h


def keep_freed_memory() -> bool:
    """Make this process keep freed memory for its next use, up to 2 GiB, if the C library is glibc.

    By default glibc returns large blocks to the system, and every training step takes them again page by page: hundreds
    of page faults per step, which cost up to half of the step on a virtual machine.  Return whether it worked.
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
    """Turn garbage collection off within the context: a long table is millions of objects without cycles, and Python
    would scan all of them again and again."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
