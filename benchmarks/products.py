"""Matrix products of the sizes of these models, by the three libraries that make them here; one thread, float32.

Ours is `kernels/cpu/products.py`, whose factors lie in the second-level cache, as they do inside the fused kernels:
what it reaches is close to what the processor's multiply-adds allow. Then `kernels/linear` forward and backward, in
turn.
"""

import time
from collections.abc import Callable, Iterator
from typing import Any

import numba
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from retrieval_gap.kernels.cpu.lanes import FLOAT, VECTOR
from retrieval_gap.kernels.cpu.products import product
from retrieval_gap.kernels.linear import linear

from . import row

ROWS, TOKENS, ROUNDS, SECONDS = 64, 6_400, 20, 0.005
# (inputs, outputs): SwiGLU's two products at size 0.5m; the four of a Mamba layer.
IN_CACHE, LAYERS = ((64, 512), (256, 64)), ((64, 256), (128, 36), (4, 128), (128, 64))


def run() -> Iterator[dict[str, Any]]:
    """Thousand million operations a second: two for each multiply-add."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield from (_in_cache(*sizes) for sizes in IN_CACHE)
        yield from (_layer(*sizes) for sizes in LAYERS)
    finally:
        torch.set_num_threads(threads)


def _in_cache(inputs: int, outputs: int) -> dict[str, Any]:
    a, b, c = _aligned(ROWS, inputs), _aligned(inputs, outputs), _aligned(ROWS, outputs)
    places = (c.data_ptr(), FLOAT * outputs, a.data_ptr(), FLOAT * inputs, FLOAT, b.data_ptr(), FLOAT * outputs)
    operations = 2 * ROWS * inputs * outputs
    runs = max(1, int(SECONDS * 5e10 / operations))
    ours, theirs = _seconds(
        lambda: _repeat(runs, *places, ROWS, inputs, outputs),
        lambda: [torch.mm(a, b, out=c) for _ in range(runs)],
    )
    giga = runs * operations / 1e9
    return row(f"a product in cache, {ROWS}x{inputs}x{outputs}", giga / ours, giga / theirs, "GFLOP/s", "torch.mm")


def _layer(inputs: int, outputs: int) -> dict[str, Any]:
    x, weight = (_aligned(rows, inputs).requires_grad_() for rows in (TOKENS, outputs))
    grad = _aligned(TOKENS, outputs)

    def task(layer: Callable[[Tensor, Tensor], Tensor]) -> Callable[[], Any]:
        return lambda: torch.autograd.grad(layer(x, weight), (x, weight), grad)

    giga = 6 * TOKENS * inputs * outputs / 1e9
    ours, theirs = _seconds(task(linear), task(F.linear))
    name = f"a linear layer, forward and backward, {TOKENS} tokens, {inputs} to {outputs}"
    return row(name, giga / ours, giga / theirs, "GFLOP/s", "torch.nn.functional.linear")


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
    """Random numbers that begin where a vector does."""
    numbers = np.random.default_rng(rows).standard_normal(rows * columns + VECTOR // FLOAT, np.float32)
    first = -numbers.ctypes.data % VECTOR // FLOAT
    return torch.from_numpy(numbers[first : first + rows * columns].reshape(rows, columns))


@numba.njit
def _repeat(
    runs: int, c: int, c_row: int, a: int, a_row: int, a_term: int, b: int, b_row: int, m: int, k: int, n: int
) -> None:
    for _ in range(runs):
        product(0, c, c_row, a, a_row, a_term, b, b_row, m, k, n)
