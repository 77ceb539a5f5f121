"""Run a compiled kernel on PyTorch's own threads.

A job is an int64 array: its first entry counts the items already handed out, its second the workers started, the rest
is the kernel's. Workers take items until none is left; items write to places of their own, so the result does not
depend on the number of threads.

Why not numba's `parallel=True`: its threads would be a second pool beside PyTorch's. The idle threads of an OpenMP pool
spin for milliseconds after every operation, so two pools on the same cores take turns stealing each other's time. And
numba's fallback pool is neither thread-safe nor fork-safe. Here the OpenMP runtime that PyTorch itself has loaded starts
the workers (`GOMP_parallel`, a stable entry point of libgomp, libomp and libiomp5); where PyTorch has none, plain
Python threads do, which works because the kernels hold no interpreter lock.
"""

from __future__ import annotations

import ctypes
import inspect
import threading
from collections.abc import Callable
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numba
import numpy as np
import torch

NEXT_ITEM, WORKERS_STARTED, FIRST_FREE_FIELD = 0, 1, 2


class Worker:
    """A function `job: int64 -> None` compiled to C on first use and kept on disk from one run to the next.

    numba notices an edit of the file that holds the function, not of the files it calls: after editing those, delete
    `__pycache__`.
    """

    def __init__(self, function: Callable[[int], None]) -> None:
        self._function = inspect.unwrap(function)

    @cached_property
    def _compiled(self) -> Any:
        signature = numba.types.void(numba.types.int64)
        return numba.cfunc(signature, cache=True, error_model="numpy")(self._function)

    def run(self, job: np.ndarray, threads: int) -> None:
        """Work through the job on the calling thread and up to `threads - 1` others; return when it is done."""
        job[NEXT_ITEM] = job[WORKERS_STARTED] = 0
        if threads <= 1:
            self._compiled.ctypes(job.ctypes.data)
        elif (start := _openmp_of_torch()) is not None:
            start(self._compiled.address, job.ctypes.data, threads, 0)
        else:
            _run_on_python_threads(self._compiled.ctypes, job.ctypes.data, threads)


def thread_count(items: int, operations: float) -> int:
    """How many threads pay for `items` independent items of `operations` floating-point operations in total."""
    worth_waking = int(operations / 200_000)
    return max(1, min(torch.get_num_threads(), items, worth_waking))


@cache
def _openmp_of_torch() -> Any:
    """`GOMP_parallel(function, data, threads, flags)` of the OpenMP runtime in this PyTorch, or None."""
    folder = Path(torch.__file__).parent / "lib"
    for library in sorted([*folder.glob("libgomp*"), *folder.glob("libomp*"), *folder.glob("libiomp5*")]):
        try:
            start = ctypes.CDLL(str(library)).GOMP_parallel
        except (OSError, AttributeError):
            continue
        start.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint)
        start.restype = None
        return start
    return None


def _run_on_python_threads(function: Callable[[int], None], job_address: int, threads: int) -> None:
    others = [threading.Thread(target=function, args=(job_address,)) for _ in range(threads - 1)]
    for other in others:
        other.start()
    function(job_address)
    for other in others:
        other.join()
