"""A residual Mamba layer on CPU for one token of each sequence: a decode step.

Legend: B batch, D model width, I inner width, N states per channel, R rank of delta, T columns of B, C and delta.

An item is a share of the sequences; some of them go through the projections together. The fields of the scan's step
come first. A worker copies the job, so that its scan reads rows in the worker's own scratch memory.
"""

from __future__ import annotations

from retrieval_gap.kernels.causal_conv1d.cpu_kernels import BEFORE
from retrieval_gap.kernels.cpu import FLOAT, VECTOR
from retrieval_gap.kernels.cpu.elementary import silu
from retrieval_gap.kernels.cpu.jobs import Worker, copy_job, field, next_item, own_scratch
from retrieval_gap.kernels.cpu.lanes import compiled, fma
from retrieval_gap.kernels.cpu.memory import load, load_scalar, store, store_integer
from retrieval_gap.kernels.cpu.products import product
from retrieval_gap.kernels.cpu.rows import copy, normalise, share
from retrieval_gap.kernels.selective_scan import cpu_step
from retrieval_gap.kernels.selective_scan.cpu_step import BATCH, CHANNELS, STATES, step_item

# Sequences that go through a projection together.
CHUNK = 32

ITEMS, WIDTH, RANK, COLUMNS = range(cpu_step.FIELDS, cpu_step.FIELDS + 4)
# Addresses of contiguous tensors, as those of the layer's forward pass. WINDOW (B, 3, I) is written over.
IN, OUT, EPS, GAIN, W_IN, FILTER, FILTER_BIAS, W_X, W_DT, W_OUT, WINDOW = range(COLUMNS + 1, COLUMNS + 12)
FIELDS = WINDOW + 1
_JOB_BYTES = -(-FIELDS * 8 // VECTOR) * VECTOR


def scratch_bytes(width: int, inner: int, columns: int) -> int:
    """What a worker needs: its job; the scan's; a chunk's norm, xz, u, delta, y, and B, C, delta's columns."""
    return _JOB_BYTES + cpu_step.SCRATCH_BYTES + CHUNK * FLOAT * (width + 5 * inner + columns)


@compiled
def _convolve(u: int, window: int, x: int, taps: int, bias: int, row: int) -> None:
    """One sequence's inputs through filter and SiLU, and into the window, whose oldest inputs leave it."""
    for c in range(0, row, VECTOR):
        place, tap, x3 = window + c, taps + c, load(x + c)
        x0, x1, x2 = load(place), load(place + row), load(place + 2 * row)
        y = fma(load(tap + row), x1, fma(load(tap), x0, load(bias + c)))
        store(u + c, silu(fma(load(tap + 3 * row), x3, fma(load(tap + 2 * row), x2, y))))
        store(place, x1)
        store(place + row, x2)
        store(place + 2 * row, x3)


@compiled
def _set_rows(job: int, view: int, address: int, stride: int, first: int) -> None:
    """Row `first` of a view begins at `address`."""
    store_integer(job + 8 * view, address - first * stride)
    store_integer(job + 8 * (view + 1), stride)


@compiled
def _chunk(job: int, first: int, rows: int, scratch: int) -> None:
    width, inner, columns = field(job, WIDTH), field(job, CHANNELS), field(job, COLUMNS)
    row, wide, stride = width * FLOAT, inner * FLOAT, columns * FLOAT
    x, out = field(job, IN) + first * row, field(job, OUT) + first * row
    normed = scratch + cpu_step.SCRATCH_BYTES
    xz = normed + CHUNK * row
    u, delta, y, dbc = xz + 2 * CHUNK * wide, xz + 3 * CHUNK * wide, xz + 4 * CHUNK * wide, xz + 5 * CHUNK * wide
    normalise(normed, x, field(job, GAIN), rows, width, load_scalar(field(job, EPS)))
    product(0, xz, 2 * wide, normed, row, FLOAT, field(job, W_IN), 2 * wide, rows, width, 2 * inner)
    for r in range(rows):
        window = field(job, WINDOW) + (first + r) * BEFORE * wide
        _convolve(u + r * wide, window, xz + 2 * r * wide, field(job, FILTER), field(job, FILTER_BIAS), wide)
    product(0, dbc, stride, u, wide, FLOAT, field(job, W_X), stride, rows, inner, columns)
    dt = dbc + 2 * field(job, STATES) * FLOAT
    product(0, delta, wide, dt, stride, FLOAT, field(job, W_DT), wide, rows, field(job, RANK), inner)
    _set_rows(job, cpu_step.X, u, wide, first)
    _set_rows(job, cpu_step.DELTA, delta, wide, first)
    _set_rows(job, cpu_step.B, dbc, stride, first)
    _set_rows(job, cpu_step.C, dbc + field(job, STATES) * FLOAT, stride, first)
    _set_rows(job, cpu_step.Z, xz + wide, 2 * wide, first)
    _set_rows(job, cpu_step.Y, y, wide, first)
    for b in range(first, first + rows):
        step_item(job, b, scratch)
    copy(out, x, rows * width)
    product(1, out, row, y, wide, FLOAT, field(job, W_OUT), row, rows, inner, width)


@Worker
def step(job: int) -> None:
    """Take items until none is left."""
    own, item, items, batch = own_scratch(job), next_item(job), field(job, ITEMS), field(job, BATCH)
    copy_job(own, job, FIELDS)
    while item < items:
        last = share(item + 1, items, batch)
        for first in range(share(item, items, batch), last, CHUNK):
            _chunk(own, first, min(CHUNK, last - first), own + _JOB_BYTES)
        item = next_item(job)
