"""x + out_proj(scan(conv(in_proj n))), n = norm(x), on CPU, forward and backward: one sequence at a time, in cache.

Legend: B batch, L time, D model width, I inner width, N states per channel, R rank of delta,
T columns of B, C and delta.

An item is a share of the sequences. Each item adds to its own partial sums of the weights' gradients, initially zero;
the caller adds these in order. The job's first fields are those of the scan. A worker copies the job, so that its scan
reads and writes rows in the worker's own scratch memory.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from retrieval_gap.kernels.causal_conv1d.cpu import BEFORE, convolve, copy_first_rows, filter_back, inputs_back
from retrieval_gap.kernels.causal_conv1d.cpu import WIDTH as TAPS
from retrieval_gap.kernels.cpu import FLOAT, LANES, VECTOR
from retrieval_gap.kernels.cpu.jobs import Worker, copy_job, field, next_item, own_scratch, real_field
from retrieval_gap.kernels.cpu.lanes import compiled
from retrieval_gap.kernels.cpu.memory import store_integer
from retrieval_gap.kernels.cpu.products import product
from retrieval_gap.kernels.cpu.rows import clear, copy, normalise, normalise_back, share
from retrieval_gap.kernels.selective_scan import cpu_backward, cpu_tiles
from retrieval_gap.kernels.selective_scan.cpu_backward import scan_item_back
from retrieval_gap.kernels.selective_scan.cpu_forward import scan_item
from retrieval_gap.kernels.selective_scan.cpu_tiles import BATCH, CHANNELS, DELTA, LENGTH, STATES

ITEMS, WIDTH, RANK, COLUMNS, EPS = range(cpu_tiles.FIELDS, cpu_tiles.FIELDS + 5)
# Addresses of contiguous tensors. T = COLUMNS: B, C, then delta's R columns padded to whole vectors. The forward pass
# takes W_IN (D, 2I), W_X (I, T), W_OUT (I, D); the backward pass their transposes, and W_DT_BACK (I, T - 2N).
# Both: FILTER (4, I), W_DT (R, I).  KEPT_XZ (B, L, 2I), KEPT_DBC (B, L, T).  WINDOW: (B, 3, I) or 0.
IN, OUT, GAIN, W_IN, FILTER, FILTER_BIAS, W_X, W_DT, W_OUT = range(EPS + 1, EPS + 10)
KEPT_XZ, KEPT_DBC, WINDOW, W_DT_BACK, GRAD_OUT, GRAD_IN = range(W_OUT + 1, W_OUT + 7)
GRAD_GAIN, GRAD_W_IN, GRAD_FILTER, GRAD_W_X, GRAD_W_DT, GRAD_W_OUT = range(GRAD_IN + 1, GRAD_IN + 7)
FIELDS = GRAD_W_OUT + 1
_JOB_BYTES = -(-FIELDS * 8 // VECTOR) * VECTOR


class Kept(NamedTuple):
    """What the forward pass keeps for the backward pass: xz (B, L, 2I), u (B, L, I), B, C and delta's columns (B, L,
    T), y (B, L, I), and the states between chunks (None: not needed)."""

    xz: Tensor
    u: Tensor
    dbc: Tensor
    y: Tensor
    boundaries: Tensor | None


def scratch_bytes(length: int, width: int, inner: int, columns: int, states: int) -> int:
    """Bytes per worker of a backward pass: its job; a sequence's norm and its gradient, delta, and the gradients of y,
    delta, u (and three rows more), xz and B, C, delta's columns; the filter's first rows; the scan's scratch memory."""
    rows = length * (2 * width + 6 * inner + columns) + 3 * BEFORE * inner
    return _JOB_BYTES + rows * FLOAT + cpu_backward.scratch_bytes(inner // LANES, states)


@compiled
def _set_rows(job: int, view: int, address: int, stride: int) -> None:
    """Let the rows of a view begin at `address`, whichever sequence this worker is processing."""
    store_integer(job + 8 * view, address)
    store_integer(job + 8 * (view + 1), 0)
    store_integer(job + 8 * (view + 2), stride)


@compiled
def _copy_first_rows(job: int, b: int, xz: int, rows: int) -> None:
    inner, before = field(job, CHANNELS), field(job, WINDOW)
    if before != 0:
        before += b * BEFORE * inner * FLOAT
    copy_first_rows(rows, before, xz, 2 * inner * FLOAT, field(job, LENGTH), inner)


@compiled
def _sequence_forward(job: int, b: int, scratch: int) -> None:
    length, width, inner = field(job, LENGTH), field(job, WIDTH), field(job, CHANNELS)
    row, wide, columns = width * FLOAT, inner * FLOAT, field(job, COLUMNS)
    x, out = field(job, IN) + b * length * row, field(job, OUT) + b * length * row
    xz, dbc = field(job, KEPT_XZ) + 2 * b * length * wide, field(job, KEPT_DBC) + b * length * columns * FLOAT
    u, y = cpu_tiles.at(job, cpu_tiles.X, b, 0, 0), cpu_tiles.at(job, cpu_tiles.Y, b, 0, 0)
    normed = scratch
    delta = normed + length * row
    first_rows = delta + length * wide
    normalise(normed, x, field(job, GAIN), length, width, real_field(job, EPS))
    product(0, xz, 2 * wide, normed, row, FLOAT, field(job, W_IN), 2 * wide, length, width, 2 * inner)
    _copy_first_rows(job, b, xz, first_rows)
    convolve(u, wide, xz, 2 * wide, first_rows, field(job, FILTER), field(job, FILTER_BIAS), length, inner)
    stride = columns * FLOAT
    product(0, dbc, stride, u, wide, FLOAT, field(job, W_X), stride, length, inner, columns)
    dt = dbc + 2 * field(job, STATES) * FLOAT
    product(0, delta, wide, dt, stride, FLOAT, field(job, W_DT), wide, length, field(job, RANK), inner)
    _set_rows(job, DELTA, delta, wide)
    scan_item(job, b, 0, first_rows + 2 * BEFORE * wide)
    copy(out, x, length * width)
    product(1, out, row, y, wide, FLOAT, field(job, W_OUT), row, length, inner, width)


@compiled
def _sequence_backward(job: int, b: int, item: int, scratch: int) -> None:
    length, width, inner, rank = field(job, LENGTH), field(job, WIDTH), field(job, CHANNELS), field(job, RANK)
    row, wide, columns, states = width * FLOAT, inner * FLOAT, field(job, COLUMNS), field(job, STATES)
    stride, padded_rank = columns * FLOAT, columns - 2 * states
    x, grad_out = field(job, IN) + b * length * row, field(job, GRAD_OUT) + b * length * row
    xz, dbc = field(job, KEPT_XZ) + 2 * b * length * wide, field(job, KEPT_DBC) + b * length * stride
    dt = dbc + 2 * states * FLOAT
    u, y = cpu_tiles.at(job, cpu_tiles.X, b, 0, 0), cpu_tiles.at(job, cpu_tiles.Y, b, 0, 0)
    normed = scratch
    grad_normed, delta = normed + length * row, normed + 2 * length * row
    grad_y, grad_delta = delta + length * wide, delta + 2 * length * wide
    grad_u = delta + 3 * length * wide
    grad_xz = grad_u + (length + BEFORE) * wide
    grad_dbc = grad_xz + 2 * length * wide
    first_rows = grad_dbc + length * stride
    grad_w_x = field(job, GRAD_W_X) + item * inner * stride
    grad_w_dt = field(job, GRAD_W_DT) + item * inner * padded_rank * FLOAT
    grad_w_in, grad_w_out = field(job, GRAD_W_IN) + 2 * item * inner * row, field(job, GRAD_W_OUT) + item * inner * row
    product(0, grad_y, wide, grad_out, row, FLOAT, field(job, W_OUT), wide, length, width, inner)
    product(1, grad_w_out, wide, grad_out, FLOAT, row, y, wide, width, length, inner)
    product(0, delta, wide, dt, stride, FLOAT, field(job, W_DT), wide, length, rank, inner)
    _set_rows(job, DELTA, delta, wide)
    _set_rows(job, cpu_tiles.GRAD_Y, grad_y, wide)
    _set_rows(job, cpu_tiles.GRAD_X, grad_u, wide)
    _set_rows(job, cpu_tiles.GRAD_DELTA, grad_delta, wide)
    _set_rows(job, cpu_tiles.GRAD_Z, grad_xz + wide, 2 * wide)
    _set_rows(job, cpu_tiles.GRAD_B, grad_dbc, stride)
    _set_rows(job, cpu_tiles.GRAD_C, grad_dbc + states * FLOAT, stride)
    scan_item_back(job, b, 0, first_rows + 2 * BEFORE * wide)
    grad_dt = grad_dbc + 2 * states * FLOAT
    product(
        0, grad_dt, stride, grad_delta, wide, FLOAT, field(job, W_DT_BACK), padded_rank * FLOAT,
        length, inner, padded_rank,
    )  # fmt: skip
    product(1, grad_w_dt, padded_rank * FLOAT, grad_delta, FLOAT, wide, dt, stride, inner, length, padded_rank)
    product(1, grad_u, wide, grad_dbc, stride, FLOAT, field(job, W_X), wide, length, columns, inner)
    product(1, grad_w_x, wide, grad_dbc, FLOAT, stride, u, wide, columns, length, inner)
    clear(grad_u + length * wide, BEFORE * inner)
    _copy_first_rows(job, b, xz, first_rows)
    taps, sums = field(job, FILTER), field(job, GRAD_FILTER) + item * (TAPS + 1) * wide
    filter_back(grad_u, xz, 2 * wide, first_rows, taps, field(job, FILTER_BIAS), sums, length, inner)
    inputs_back(grad_xz, 2 * wide, grad_u, taps, length, inner)
    product(0, grad_normed, row, grad_xz, 2 * wide, FLOAT, field(job, W_IN), row, length, 2 * inner, width)
    gain, eps, grad_x = field(job, GAIN), real_field(job, EPS), field(job, GRAD_IN) + b * length * row
    grad_gain = field(job, GRAD_GAIN) + item * row
    normalise_back(grad_x, grad_out, normed, grad_normed, x, gain, grad_gain, length, width, eps)
    product(1, grad_w_in, row, grad_xz, FLOAT, 2 * wide, normed, row, 2 * inner, length, width)


@Worker
def forward(job: int) -> None:
    """Take items until none is left."""
    own, item, items, batch = own_scratch(job), next_item(job), field(job, ITEMS), field(job, BATCH)
    copy_job(own, job, FIELDS)
    while item < items:
        for b in range(share(item, items, batch), share(item + 1, items, batch)):
            _sequence_forward(own, b, own + _JOB_BYTES)
        item = next_item(job)


@Worker
def backward(job: int) -> None:
    """Take items until none is left."""
    own, item, items, batch = own_scratch(job), next_item(job), field(job, ITEMS), field(job, BATCH)
    copy_job(own, job, FIELDS)
    while item < items:
        for b in range(share(item, items, batch), share(item + 1, items, batch)):
            _sequence_backward(own, b, item, own + _JOB_BYTES)
        item = next_item(job)
