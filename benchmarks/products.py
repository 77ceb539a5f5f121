"""Matrix products of the sizes of these models, as the fused kernels and PyTorch compute them; one thread, float32.

Ours is `kernels/cpu/products.py`, whose factors are in the second-level cache, as they are inside the fused kernels:
its speed is close to what the processor's multiply-adds allow.
"""

import time
from collections.abc import Callable, Iterator
from typing import Any

import numba
import numpy as np
import torch
from torch import Tensor

from retrieval_gap.kernels.cpu import FLOAT, VECTOR
from retrieval_gap.kernels.cpu.products import product

from . import row

ROWS, ROUNDS, SECONDS = 64, 20, 0.005
# (inputs, outputs): SwiGLU's two products at size 0.5m; three of a Mamba layer, as wide as whole vectors.
IN_CACHE = ((64, 512), (256, 64), (64, 256), (128, 48), (128, 64))


def run() -> Iterator[dict[str, Any]]:
    """Thousand million operations per second: two for each multiply-add."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield from (_in_cache(*sizes) for sizes in IN_CACHE)
    finally:
        torch.set_num_threads(threads)


def _in_cache(inputs: int, outputs: int) -> dict[str, Any]:
    a, b, c = _aligned(ROWS, inputs), _aligned(inputs, outputs), _aligned(ROWS, outputs)
    places = (c.data_ptr(), FLOAT * outputs, a.data_ptr(), FLOAT * inputs, FLOAT, b.data_ptr(), FLOAT * outputs)
    operations = 2 * ROWS * inputs * outputs
    runs = max(1, int(SECONDS * 5e10 / operations))
    ours, theirs = _seconds(
        lambda: _repeat(runs, (*places, ROWS, inputs, outputs)),
        lambda: [torch.mm(a, b, out=c) for _ in range(runs)],
    )
    giga = runs * operations / 1e9
    return row(f"a product in cache, {ROWS}x{inputs}x{outputs}", giga / ours, giga / theirs, "GFLOP/s", "torch.mm")


def _seconds(ours: Callable[[], Any], theirs: Callable[[], Any]) -> tuple[float, float]:
    times: tuple[list[float], list[float]] = ([], [])
    for work in (ours, theirs):
        work()  # compiles
    for _ in range(ROUNDS):
        for work, taken in zip((ours, theirs), times, strict=True):
            begin = time.perf_counter()
            work()
            taken.append(time.perf_counter() - begin)
    return min(times[0]), min(times[1])


def _aligned(rows: int, columns: int) -> Tensor:
    """Random numbers that begin at the boundary of a vector."""
    numbers = np.random.default_rng(rows).standard_normal(rows * columns + VECTOR // FLOAT, np.float32)
    first = -numbers.ctypes.data % VECTOR // FLOAT
    return torch.from_numpy(numbers[first : first + rows * columns].reshape(rows, columns))


@numba.njit
def _repeat(runs: int, factors: tuple[int, ...]) -> None:
    """factors: the arguments of `product` after `add`."""
    c, c_row, a, a_row, a_term, b, b_row, m, k, n = factors
    for _ in range(runs):
        product(0, c, c_row, a, a_row, a_term, b, b_row, m, k, n)
