"""Run a compiled kernel on PyTorch's own threads.

A job is an int64 array. Its first entry counts the items already handed out, its second the workers that have
started; the next two locate scratch memory, and the rest belongs to the kernel. Workers take items until none is
left. Each item writes only to its own memory, so the result does not depend on the number of threads.

Why not numba's `parallel=True`: its threads would be a second pool beside PyTorch's. The idle threads of an
OpenMP pool spin for milliseconds after every operation, so two pools on the same cores steal each other's
time; and numba's fallback pool is neither thread-safe nor fork-safe. Here the OpenMP runtime that PyTorch has
loaded starts the workers (`GOMP_parallel`, a stable entry point of libgomp, libomp and libiomp5). Without one,
plain Python threads run them, since kernels do not hold the interpreter lock.
"""

from __future__ import annotations

import contextlib
import ctypes
import inspect
import struct
import threading
from array import array
from collections.abc import Callable, Mapping
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numba import types
from numba.core.ccallback import CFunc
from torch import Tensor

from retrieval_gap.kernels.cpu import FLOAT
from retrieval_gap.kernels.cpu.lanes import compiled
from retrieval_gap.kernels.cpu.memory import load_integer, load_scalar, store_integer, take_ticket

_NEXT_ITEM, _WORKERS_STARTED, _SCRATCH, _SCRATCH_EACH, FIRST_FIELD = range(5)
_CACHE_LINE = 64
# For kernels whose items hold partial sums of the weights' gradients: enough to share among threads, and few enough
# that adding up is cheap.
MOST_ITEMS = 16


class Job:
    """The arguments of a kernel: numbers, and addresses of tensors, which live as long as the job does."""

    def __init__(self, fields: int) -> None:
        self._numbers = [0] * fields
        self._kept: list[Tensor] = []

    def put(self, first: int, *numbers: int) -> None:
        """Write numbers to consecutive fields."""
        self._numbers[first : first + len(numbers)] = numbers

    def real(self, index: int, number: float) -> None:
        """Write a float32, for `real_field` to read."""
        self._numbers[index] = int.from_bytes(struct.pack("<fi", number, 0), "little")

    def flats(self, tensors: Mapping[int, Tensor | None]) -> None:
        """Write the addresses of tensors, copied if not contiguous; 0 for None."""
        for index, tensor in tensors.items():
            if tensor is not None:
                self._kept.append(tensor := tensor.contiguous())
                self._numbers[index] = tensor.data_ptr()

    def views(self, tensors: Mapping[int, Tensor | None]) -> None:
        """Write each tensor of rows: its address, then the bytes to the next row along each axis but the last."""
        for index, tensor in tensors.items():
            if tensor is not None:
                if tensor.stride(-1) != 1 and tensor.shape[-1] != 1:
                    tensor = tensor.contiguous()
                self._kept.append(tensor)
                self.put(index, tensor.data_ptr(), *(FLOAT * stride for stride in tensor.stride()[:-1]))

    def run(self, worker: Worker, threads: int, scratch_bytes: int = 0) -> None:
        """Run the job on the calling thread and up to `threads - 1` others, each with its own scratch memory."""
        each = (-(-scratch_bytes // _CACHE_LINE) + 1) * _CACHE_LINE
        scratch = torch.empty(threads * each + _CACHE_LINE, dtype=torch.uint8)
        aligned = -(-scratch.data_ptr() // _CACHE_LINE) * _CACHE_LINE
        self.put(_NEXT_ITEM, 0, 0, aligned, each)
        numbers = array("q", self._numbers)
        worker.start(numbers.buffer_info()[0], threads)


@compiled
def field(job: int, index: int) -> int:
    """One number of the job."""
    return load_integer(job + 8 * index)


@compiled
def real_field(job: int, index: int) -> np.float32:
    """The float32 in a field."""
    return load_scalar(job + 8 * index)


@compiled
def copy_job(target: int, job: int, fields: int) -> None:
    """Copy the job for one worker, which may then change its fields."""
    for index in range(fields):
        store_integer(target + 8 * index, field(job, index))


@compiled
def next_item(job: int) -> int:
    """The number of the next item; no two workers get the same."""
    return take_ticket(job + 8 * _NEXT_ITEM)


@compiled
def own_scratch(job: int) -> int:
    """The address of this worker's scratch memory, on a cache line. Each worker calls it once."""
    return field(job, _SCRATCH) + take_ticket(job + 8 * _WORKERS_STARTED) * field(job, _SCRATCH_EACH)


class Worker:
    """A function `job: int64 -> None`, compiled to C on first use and cached on disk between runs."""

    def __init__(self, function: Callable[[int], None]) -> None:
        self._function = inspect.unwrap(function)

    @cached_property
    def _compiled(self) -> Any:
        compiled: Any = CFunc(self._function, ((types.int64,), types.void), {}, {"error_model": "numpy"})
        # If numba finds no folder it may write to, every process compiles again.
        with contextlib.suppress(RuntimeError):
            compiled.enable_caching()
        compiled.compile()
        return compiled

    def start(self, job_address: int, threads: int) -> None:
        """Run on the calling thread and up to `threads - 1` others; return when all are done."""
        if threads <= 1:
            self._compiled.ctypes(job_address)
        elif (openmp := _openmp_of_torch()) is not None:
            openmp(self._compiled.address, job_address, threads, 0)
        else:
            _run_on_python_threads(self._compiled.ctypes, job_address, threads)


def thread_count(items: int, operations: float) -> int:
    """The number of threads that pay for `items` independent items of `operations` vector instructions in total."""
    worth_waking = int(operations / 200_000)
    return max(1, min(torch.get_num_threads(), items, worth_waking))


def mark_written(*tensors: Tensor) -> None:
    """Mark tensors that a kernel writes in place, by address, so that a graph that needs the old values raises."""
    torch.autograd.graph.increment_version([tensor for tensor in tensors if not tensor.is_inference()])


def sum_in_order(partials: Tensor) -> Tensor:
    """Sum over the first axis in a fixed order: PyTorch would split the sum among its threads."""
    return partials[0] if len(partials) == 1 else torch.from_numpy(partials.numpy().sum(axis=0))


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
