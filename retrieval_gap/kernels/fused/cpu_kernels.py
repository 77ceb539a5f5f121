"""RMSNorm and SwiGLU on CPU, forward and backward: 16 channels in a vector, one pass over memory.

Legend: R rows, D channels, H half of the channels.

An item is BLOCK rows. The gradient of RMSNorm's weight is left as one partial sum per item.
"""

from __future__ import annotations

import math

import numpy as np

from retrieval_gap.kernels.cpu.elementary import sigmoid, silu
from retrieval_gap.kernels.cpu.jobs import FIRST_FIELD, Worker, field, next_item, own_scratch
from retrieval_gap.kernels.cpu.lanes import (
    FLOAT,
    LANES,
    ONE,
    VECTOR,
    ZERO,
    compiled,
    fma,
    load,
    load_scalar,
    splat,
    store,
    store_scalar,
    total,
)
from retrieval_gap.kernels.cpu.rows import load_first, store_first

BLOCK = 64

# `channels` is D for RMSNorm and H for SwiGLU. SCALES holds 1 / sqrt(mean(x^2) + eps) of every row.
ROWS, CHANNELS, EPS, WEIGHT, SCALES, GRAD_WEIGHT = range(FIRST_FIELD, FIRST_FIELD + 6)
# Tensors with axes (rows, channels): an address, then the bytes to the next row.
X, Y, GRAD_Y, GRAD_X = range(GRAD_WEIGHT + 1, GRAD_WEIGHT + 9, 2)
FIELDS = GRAD_X + 2


def scratch_bytes(channels: int) -> int:
    """What a worker needs: a vector for the ends of rows, and a row for the weight's gradient."""
    return VECTOR + -(-channels // LANES) * VECTOR


@compiled
def _at(job: int, view: int, row: int) -> int:
    return field(job, view) + row * field(job, view + 1)


@compiled
def normalise_row(y: int, x: int, weight: int, channels: int, eps: float, staging: int) -> np.float32:
    """One row: y = x s weight. Returns s = 1 / sqrt(mean(x^2) + eps)."""
    squares = splat(ZERO)
    for c in range(0, channels, LANES):
        value = load_first(x + c * FLOAT, channels - c, staging)
        squares = fma(value, value, squares)
    scale = ONE / np.float32(math.sqrt(total(squares) / np.float32(channels) + eps))
    for c in range(0, channels, LANES):
        count, here = channels - c, c * FLOAT
        gain = load_first(weight + here, count, staging)
        store_first(y + here, load_first(x + here, count, staging) * splat(scale) * gain, count, staging)
    return scale


@compiled
def normalise_row_back(
    out: int, grad: int, x: int, weight: int, sums: int, scale: np.float32, channels: int, staging: int
) -> None:
    """One row: the gradient of x to `out`; that of the weight is added to `sums`, whole vectors."""
    along = splat(ZERO)
    for c in range(0, channels, LANES):
        count, here = channels - c, c * FLOAT
        value, g = load_first(x + here, count, staging), load_first(grad + here, count, staging)
        product = g * value
        along = fma(product, load_first(weight + here, count, staging), along)
        store(sums + here, fma(product, splat(scale), load(sums + here)))
    # d/dx of x s with s = (mean(x^2) + eps)^(-1/2) is s - x x s^3 / D.
    back = splat(-total(along) * scale * scale / np.float32(channels))
    for c in range(0, channels, LANES):
        count, here = channels - c, c * FLOAT
        value, g = load_first(x + here, count, staging), load_first(grad + here, count, staging)
        through = fma(value, back, g * load_first(weight + here, count, staging))
        store_first(out + here, through * splat(scale), count, staging)


@compiled
def _normalise_row(job: int, row: int, staging: int) -> None:
    x, y, eps = _at(job, X, row), _at(job, Y, row), load_scalar(field(job, EPS))
    scale = normalise_row(y, x, field(job, WEIGHT), field(job, CHANNELS), eps, staging)
    store_scalar(field(job, SCALES) + row * FLOAT, scale)


@compiled
def _normalise_row_back(job: int, row: int, staging: int, sums: int) -> None:
    x, grad, out = _at(job, X, row), _at(job, GRAD_Y, row), _at(job, GRAD_X, row)
    scale = load_scalar(field(job, SCALES) + row * FLOAT)
    normalise_row_back(out, grad, x, field(job, WEIGHT), sums, scale, field(job, CHANNELS), staging)


@compiled
def _gate_row(job: int, row: int, staging: int) -> None:
    channels, gate, y = field(job, CHANNELS), _at(job, X, row), _at(job, Y, row)
    up = gate + channels * FLOAT
    for c in range(0, channels, LANES):
        count, here = channels - c, c * FLOAT
        opened = silu(load_first(gate + here, count, staging))
        store_first(y + here, opened * load_first(up + here, count, staging), count, staging)


@compiled
def _gate_row_back(job: int, row: int, staging: int) -> None:
    channels, gate, out = field(job, CHANNELS), _at(job, X, row), _at(job, GRAD_X, row)
    grad, up_offset = _at(job, GRAD_Y, row), channels * FLOAT
    for c in range(0, channels, LANES):
        count, here = channels - c, c * FLOAT
        value, g = load_first(gate + here, count, staging), load_first(grad + here, count, staging)
        up, s = load_first(gate + up_offset + here, count, staging), sigmoid(value)
        slope = s * fma(value, splat(ONE) - s, splat(ONE))
        store_first(out + here, g * up * slope, count, staging)
        store_first(out + up_offset + here, g * value * s, count, staging)


@Worker
def rms_norm_forward(job: int) -> None:
    """Take blocks of rows until none is left."""
    staging, item = own_scratch(job), next_item(job)
    while item * BLOCK < field(job, ROWS):
        for row in range(item * BLOCK, min(item * BLOCK + BLOCK, field(job, ROWS))):
            _normalise_row(job, row, staging)
        item = next_item(job)


@Worker
def rms_norm_backward(job: int) -> None:
    """Take blocks of rows until none is left."""
    staging, item, channels = own_scratch(job), next_item(job), field(job, CHANNELS)
    sums = staging + VECTOR
    while item * BLOCK < field(job, ROWS):
        for c in range(0, channels, LANES):
            store(sums + c * FLOAT, splat(ZERO))
        for row in range(item * BLOCK, min(item * BLOCK + BLOCK, field(job, ROWS))):
            _normalise_row_back(job, row, staging, sums)
        for c in range(channels):
            place = field(job, GRAD_WEIGHT) + (item * channels + c) * FLOAT
            store_scalar(place, load_scalar(sums + c * FLOAT))
        item = next_item(job)


@Worker
def swiglu_forward(job: int) -> None:
    """Take blocks of rows until none is left."""
    staging, item = own_scratch(job), next_item(job)
    while item * BLOCK < field(job, ROWS):
        for row in range(item * BLOCK, min(item * BLOCK + BLOCK, field(job, ROWS))):
            _gate_row(job, row, staging)
        item = next_item(job)


@Worker
def swiglu_backward(job: int) -> None:
    """Take blocks of rows until none is left."""
    staging, item = own_scratch(job), next_item(job)
    while item * BLOCK < field(job, ROWS):
        for row in range(item * BLOCK, min(item * BLOCK + BLOCK, field(job, ROWS))):
            _gate_row_back(job, row, staging)
        item = next_item(job)
