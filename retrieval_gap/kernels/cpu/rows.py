"""Operations of kernels on contiguous rows of numbers, always a multiple of 16 of them."""

from __future__ import annotations

import math

import numpy as np

from retrieval_gap.kernels.cpu import FLOAT, VECTOR
from retrieval_gap.kernels.cpu.lanes import ONE, ZERO, compiled, fma, splat, total
from retrieval_gap.kernels.cpu.memory import load, store


@compiled
def clear(address: int, numbers: int) -> None:
    """Write zeros."""
    for i in range(0, numbers * FLOAT, VECTOR):
        store(address + i, splat(ZERO))


@compiled
def copy(target: int, source: int, numbers: int) -> None:
    """Copy numbers from `source` to `target`."""
    for i in range(0, numbers * FLOAT, VECTOR):
        store(target + i, load(source + i))


@compiled
def share(item: int, items: int, parts: int) -> int:
    """The first part of an item when parts 0, 1, ... are divided evenly among the items, in order."""
    return item * parts // items


@compiled
def normalise_row(y: int, x: int, gain: int, width: int, eps: float) -> np.float32:
    """RMSNorm of one row: y = x s gain. Returns s = 1 / sqrt(mean(x^2) + eps)."""
    squares = splat(ZERO)
    for c in range(0, width * FLOAT, VECTOR):
        squares = fma(load(x + c), load(x + c), squares)
    scale = ONE / np.float32(math.sqrt(total(squares) / np.float32(width) + eps))
    for c in range(0, width * FLOAT, VECTOR):
        store(y + c, load(x + c) * splat(scale) * load(gain + c))
    return scale


@compiled
def normalise_row_back(grad_x: int, grad: int, x: int, gain: int, sums: int, scale: np.float32, width: int) -> None:
    """Write the gradient of one row to `grad_x`; add that of the gain to `sums`."""
    along = splat(ZERO)
    for c in range(0, width * FLOAT, VECTOR):
        product = load(grad + c) * load(x + c)
        along = fma(product, load(gain + c), along)
        store(sums + c, fma(product, splat(scale), load(sums + c)))
    # d/dx of x s with s = (mean(x^2) + eps)^(-1/2) is s - x x s^3 / D.
    back = splat(-total(along) * scale * scale / np.float32(width))
    for c in range(0, width * FLOAT, VECTOR):
        store(grad_x + c, fma(load(x + c), back, load(grad + c) * load(gain + c)) * splat(scale))


@compiled
def normalise(y: int, x: int, gain: int, rows: int, width: int, eps: float) -> None:
    """y = RMSNorm(x), row by row."""
    for r in range(0, rows * width * FLOAT, width * FLOAT):
        normalise_row(y + r, x + r, gain, width, eps)


@compiled
def normalise_back(
    grad_x: int, grad_y: int, normed: int, grad_normed: int, x: int, gain: int, sums: int,
    rows: int, width: int, eps: float,
) -> None:  # fmt: skip
    """grad_x = grad_y + the gradient through the norm; the gain's gradient is added to `sums`.

    normed: where RMSNorm(x) is written: it is recomputed.
    """
    row = width * FLOAT
    for r in range(0, rows * row, row):
        scale = normalise_row(normed + r, x + r, gain, width, eps)
        normalise_row_back(grad_x + r, grad_normed + r, x + r, gain, sums, scale, width)
        for c in range(r, r + row, VECTOR):
            store(grad_x + c, load(grad_x + c) + load(grad_y + c))
