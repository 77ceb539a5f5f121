"""Causal depthwise convolution of width 4, forward and backward: 16 channels in a vector.

Legend: B batch, L time, D channels, K = 4 the width of the filter.

An item is one sequence and one block of its channels. Time runs in chunks; a chunk's inputs, with the three before
them, are first copied to a window of rows of 16 channels (Mamba's input is half of a wider tensor).
"""

from __future__ import annotations

from typing import Any

from retrieval_gap.kernels.cpu.elementary import sigmoid
from retrieval_gap.kernels.cpu.jobs import FIRST_FIELD, Worker, field, next_item, own_scratch
from retrieval_gap.kernels.cpu.lanes import (
    FLOAT,
    LANES,
    ONE,
    VECTOR,
    compiled,
    fma,
    inline,
    load,
    load_scalar,
    splat,
    store,
    store_scalar,
)
from retrieval_gap.kernels.cpu.rows import columns_in, columns_out, copy_in, copy_out

WIDTH, BEFORE, CHUNK, BLOCK = 4, 3, 32, 64

BATCH, LENGTH, CHANNELS, WITH_SILU = range(FIRST_FIELD, FIRST_FIELD + 4)
# Addresses of contiguous tensors; 0 where a tensor was not given.
WEIGHT, BIAS, STATE, STATE_OUT, GRAD_WEIGHT, GRAD_BIAS, GRAD_STATE = range(WITH_SILU + 1, WITH_SILU + 8)
# Tensors with axes (batch, time, channels): an address, then the bytes to the next sequence and to the next step.
X, Y, GRAD_Y, GRAD_X = range(GRAD_STATE + 1, GRAD_STATE + 13, 3)
FIELDS = GRAD_X + 3

# Scratch: the filter's taps and the bias, their gradients; then rows of 16 channels: the window of inputs, the outputs
# or their gradients, and the gradients before the activation, with the three before the chunk's first.
_TAPS, _BIAS, _GRAD_TAPS, _GRAD_BIAS = 0, WIDTH * VECTOR, (WIDTH + 1) * VECTOR, (2 * WIDTH + 1) * VECTOR
_WINDOW = (2 * WIDTH + 2) * VECTOR
_ROWS = _WINDOW + (CHUNK + BEFORE) * VECTOR
_INNER = _ROWS + (CHUNK + BEFORE) * VECTOR
SCRATCH_BYTES = _INNER + (CHUNK + BEFORE) * VECTOR


@compiled
def _at(job: int, view: int, b: int, t: int, first: int) -> int:
    return field(job, view) + b * field(job, view + 1) + t * field(job, view + 2) + first * FLOAT


@compiled
def _open(job: int, b: int, first: int, count: int, scratch: int) -> None:
    """The filter and the bias of 16 channels, and the three inputs before the first step."""
    columns_in(scratch + _TAPS, field(job, WEIGHT) + first * WIDTH * FLOAT, WIDTH, count)
    columns_in(scratch + _BIAS, field(job, BIAS) + first * FLOAT, 1, count)
    state = field(job, STATE)
    if state != 0:
        state += (b * field(job, CHANNELS) + first) * BEFORE * FLOAT
    columns_in(scratch + _WINDOW, state, BEFORE, count)


@compiled
def _slide(rows: int, steps: int) -> None:
    """The last three rows of a chunk become the three before the next."""
    for i in range(BEFORE):
        store(rows + i * VECTOR, load(rows + (steps + i) * VECTOR))


@inline
def filtered(window: int, taps: Any, bias: Any) -> Any:
    """The filter's output for the last of four rows."""
    w0, w1, w2, w3 = taps
    x0, x1, x2, x3 = load(window), load(window + VECTOR), load(window + 2 * VECTOR), load(window + 3 * VECTOR)
    return fma(w3, x3, fma(w2, x2, fma(w1, x1, fma(w0, x0, bias))))


@inline
def _taps(scratch: int) -> Any:
    taps = scratch + _TAPS
    return load(taps), load(taps + VECTOR), load(taps + 2 * VECTOR), load(taps + 3 * VECTOR)


@compiled
def _convolve(job: int, b: int, first: int, count: int, scratch: int) -> None:
    """16 channels of one sequence."""
    _open(job, b, first, count, scratch)
    taps, bias, with_silu = _taps(scratch), load(scratch + _BIAS), field(job, WITH_SILU) != 0
    window, rows = scratch + _WINDOW, scratch + _ROWS
    for start in range(0, field(job, LENGTH), CHUNK):
        steps = min(CHUNK, field(job, LENGTH) - start)
        copy_in(window + BEFORE * VECTOR, _at(job, X, b, start, first), field(job, X + 2), steps, count)
        if with_silu:
            for t in range(steps):
                y = filtered(window + t * VECTOR, taps, bias)
                store(rows + t * VECTOR, y * sigmoid(y))
        else:
            for t in range(steps):
                store(rows + t * VECTOR, filtered(window + t * VECTOR, taps, bias))
        copy_out(_at(job, Y, b, start, first), field(job, Y + 2), rows, steps, count)
        _slide(window, steps)
    state_out = field(job, STATE_OUT) + (b * field(job, CHANNELS) + first) * BEFORE * FLOAT
    columns_out(state_out, window, BEFORE, count)


@compiled
def _through_silu(scratch: int, steps: int, with_silu: bool) -> None:
    """From the gradients of a chunk's outputs to those of the filter's outputs."""
    taps, bias = _taps(scratch), load(scratch + _BIAS)
    window, rows, inner = scratch + _WINDOW, scratch + _ROWS, scratch + _INNER + BEFORE * VECTOR
    for t in range(steps):
        grad = load(rows + t * VECTOR)
        if with_silu:
            y = filtered(window + t * VECTOR, taps, bias)
            s = sigmoid(y)
            grad = grad * s * fma(y, splat(ONE) - s, splat(ONE))
        store(inner + t * VECTOR, grad)


@compiled
def _add_to_filter(scratch: int, steps: int) -> None:
    """A chunk's share of the gradients of the filter and the bias."""
    window, inner, sums = scratch + _WINDOW, scratch + _INNER + BEFORE * VECTOR, scratch + _GRAD_TAPS
    s0, s1, s2, s3 = load(sums), load(sums + VECTOR), load(sums + 2 * VECTOR), load(sums + 3 * VECTOR)
    total = load(scratch + _GRAD_BIAS)
    for t in range(steps):
        grad, x = load(inner + t * VECTOR), window + t * VECTOR
        s0, s1 = fma(grad, load(x), s0), fma(grad, load(x + VECTOR), s1)
        s2, s3 = fma(grad, load(x + 2 * VECTOR), s2), fma(grad, load(x + 3 * VECTOR), s3)
        total = total + grad
    store(sums, s0)
    store(sums + VECTOR, s1)
    store(sums + 2 * VECTOR, s2)
    store(sums + 3 * VECTOR, s3)
    store(scratch + _GRAD_BIAS, total)


@compiled
def _to_inputs(scratch: int, steps: int) -> None:
    """The gradients of the inputs three steps before each step, now complete: they replace the rows."""
    w0, w1, w2, w3 = _taps(scratch)
    inner, rows = scratch + _INNER, scratch + _ROWS
    for t in range(steps):
        g = inner + t * VECTOR
        later = fma(w1, load(g + 2 * VECTOR), w0 * load(g + 3 * VECTOR))
        store(rows + t * VECTOR, fma(w3, load(g), fma(w2, load(g + VECTOR), later)))


@compiled
def _write_inputs(job: int, b: int, first: int, count: int, scratch: int, start: int, steps: int) -> None:
    """Write the gradients of the inputs start - 3 ... start + steps - 4; the first three belong to the state."""
    _to_inputs(scratch, steps)
    rows, to_state = scratch + _ROWS, min(max(BEFORE - start, 0), steps)
    if to_state > 0:
        target = field(job, GRAD_STATE) + (b * field(job, CHANNELS) + first) * BEFORE * FLOAT
        for i in range(to_state):
            for c in range(min(count, LANES)):
                place = target + (c * BEFORE + start + i) * FLOAT
                store_scalar(place, load_scalar(rows + i * VECTOR + c * FLOAT))
    target = _at(job, GRAD_X, b, start - BEFORE + to_state, first)
    copy_out(target, field(job, GRAD_X + 2), rows + to_state * VECTOR, steps - to_state, count)


@compiled
def _convolve_back(job: int, b: int, first: int, count: int, scratch: int) -> None:
    """16 channels of one sequence, also from the first step to the last: a gradient is complete three steps later."""
    _open(job, b, first, count, scratch)
    columns_in(scratch + _GRAD_TAPS, 0, WIDTH, count)
    columns_in(scratch + _GRAD_BIAS, 0, 1, count)
    columns_in(scratch + _INNER, 0, BEFORE, count)
    length, window, rows = field(job, LENGTH), scratch + _WINDOW, scratch + _ROWS
    for start in range(0, length, CHUNK):
        steps = min(CHUNK, length - start)
        copy_in(window + BEFORE * VECTOR, _at(job, X, b, start, first), field(job, X + 2), steps, count)
        copy_in(rows, _at(job, GRAD_Y, b, start, first), field(job, GRAD_Y + 2), steps, count)
        _through_silu(scratch, steps, field(job, WITH_SILU) != 0)
        _add_to_filter(scratch, steps)
        _write_inputs(job, b, first, count, scratch, start, steps)
        _slide(window, steps)
        _slide(scratch + _INNER, steps)
    columns_in(scratch + _INNER + BEFORE * VECTOR, 0, BEFORE, count)
    _write_inputs(job, b, first, count, scratch, length, BEFORE)
    own_channels = b * field(job, CHANNELS) + first
    columns_out(field(job, GRAD_WEIGHT) + own_channels * WIDTH * FLOAT, scratch + _GRAD_TAPS, WIDTH, count)
    columns_out(field(job, GRAD_BIAS) + own_channels * FLOAT, scratch + _GRAD_BIAS, 1, count)


@Worker
def forward(job: int) -> None:
    """Take (sequence, block of channels) items until none is left."""
    scratch, blocks = own_scratch(job), (field(job, CHANNELS) + BLOCK - 1) // BLOCK
    item = next_item(job)
    while item < field(job, BATCH) * blocks:
        block_end = min(item % blocks * BLOCK + BLOCK, field(job, CHANNELS))
        for first in range(item % blocks * BLOCK, block_end, LANES):
            _convolve(job, item // blocks, first, block_end - first, scratch)
        item = next_item(job)


@Worker
def backward(job: int) -> None:
    """Take (sequence, block of channels) items until none is left."""
    scratch, blocks = own_scratch(job), (field(job, CHANNELS) + BLOCK - 1) // BLOCK
    item = next_item(job)
    while item < field(job, BATCH) * blocks:
        block_end = min(item % blocks * BLOCK + BLOCK, field(job, CHANNELS))
        for first in range(item % blocks * BLOCK, block_end, LANES):
            _convolve_back(job, item // blocks, first, block_end - first, scratch)
        item = next_item(job)
