"""A residual Mamba layer on CPU for one token of each sequence: a decode step.

Legend: B batch, D model width, I inner width, N states per channel, R rank of delta, T columns of B, C and delta.

An item is a share of the sequences; up to CHUNK of them go through the projections together. The fields are those of
the layer, but A is (I, N): here the 16 lanes of a vector are states of one channel, in memory order, since rearranging
the state would not pay for one step. The window (B, 3, I) and the state (B, I, N) are overwritten.
"""

from __future__ import annotations

from retrieval_gap.kernels.causal_conv1d.cpu import BEFORE, convolve, copy_first_rows
from retrieval_gap.kernels.cpu import FLOAT, LANES, VECTOR
from retrieval_gap.kernels.cpu.elementary import LOG2_E, exp2_of_product, silu, softplus
from retrieval_gap.kernels.cpu.jobs import Worker, field, next_item, own_scratch, real_field
from retrieval_gap.kernels.cpu.lanes import ONE, ZERO, compiled, dots_of_sixteen, fma, splat
from retrieval_gap.kernels.cpu.memory import load, load_scalar, store
from retrieval_gap.kernels.cpu.products import product
from retrieval_gap.kernels.cpu.rows import copy, normalise, share
from retrieval_gap.kernels.mamba import cpu_layer as k
from retrieval_gap.kernels.selective_scan import cpu_tiles as tiles

# Sequences that go through a projection together.
CHUNK = 32
# The scan's scratch memory for 16 channels: step and step x, a vector each; then the products with C.
_STEP, _INPUT, _TERMS = (VECTOR * i for i in range(3))
_SCAN_BYTES = _TERMS + LANES * VECTOR


def scratch_bytes(width: int, inner: int, columns: int) -> int:
    """Bytes per worker: the scan's; a chunk's norm, xz, u, delta, y and B, C, delta's columns; a window and one row."""
    return _SCAN_BYTES + FLOAT * (CHUNK * (width + 5 * inner + columns) + (BEFORE + 1) * inner)


@compiled
def _advance(A: int, h: int, lane: int, states: int, scratch: int, B: int, C: int) -> None:
    """Advance the states of one channel; their products with C go to the channel's vector of terms."""
    step = splat(load_scalar(scratch + _STEP + lane * FLOAT))
    u = splat(load_scalar(scratch + _INPUT + lane * FLOAT))
    terms = splat(ZERO)
    for n in range(0, states * FLOAT, VECTOR):
        state = fma(exp2_of_product(step, load(A + n)), load(h + n), u * load(B + n))
        terms = fma(state, load(C + n), terms)
        store(h + n, state)
    store(scratch + _TERMS + lane * VECTOR, terms)


@compiled
def _scan(job: int, h: int, u: int, delta: int, z: int, B: int, y: int, scratch: int) -> None:
    """One step of one sequence, whose state is at `h`; C follows B in memory."""
    states = field(job, tiles.STATES)
    row, C = states * FLOAT, B + states * FLOAT
    for first in range(0, field(job, tiles.CHANNELS), LANES):
        here, rows = first * FLOAT, first * row
        x = load(u + here)
        step = softplus(load(delta + here) + load(field(job, tiles.BIAS) + here))
        store(scratch + _STEP, step * splat(LOG2_E))
        store(scratch + _INPUT, step * x)
        for lane in range(LANES):
            own = rows + lane * row
            _advance(field(job, tiles.A) + own, h + own, lane, states, scratch, B, C)
        out = fma(load(field(job, tiles.D) + here), x, dots_of_sixteen(scratch + _TERMS, VECTOR, splat(ONE)))
        store(y + here, out * silu(load(z + here)))


@compiled
def _chunk(job: int, first: int, rows: int, scratch: int) -> None:
    width, inner, columns = field(job, k.WIDTH), field(job, tiles.CHANNELS), field(job, k.COLUMNS)
    row, wide, stride, matrix = width * FLOAT, inner * FLOAT, columns * FLOAT, inner * field(job, tiles.STATES) * FLOAT
    x, out = field(job, k.IN) + first * row, field(job, k.OUT) + first * row
    normed = scratch + _SCAN_BYTES
    xz = normed + CHUNK * row
    u, delta, y, dbc = xz + 2 * CHUNK * wide, xz + 3 * CHUNK * wide, xz + 4 * CHUNK * wide, xz + 5 * CHUNK * wide
    seen = dbc + CHUNK * stride
    normalise(normed, x, field(job, k.GAIN), rows, width, real_field(job, k.EPS))
    product(0, xz, 2 * wide, normed, row, FLOAT, field(job, k.W_IN), 2 * wide, rows, width, 2 * inner)
    for r in range(rows):
        window, x_r = field(job, k.WINDOW) + (first + r) * BEFORE * wide, xz + 2 * r * wide
        copy_first_rows(seen, window, x_r, wide, 1, inner)
        convolve(u + r * wide, wide, x_r, wide, seen, field(job, k.FILTER), field(job, k.FILTER_BIAS), 1, inner)
        copy(window, seen + wide, BEFORE * inner)
    product(0, dbc, stride, u, wide, FLOAT, field(job, k.W_X), stride, rows, inner, columns)
    dt = dbc + 2 * field(job, tiles.STATES) * FLOAT
    product(0, delta, wide, dt, stride, FLOAT, field(job, k.W_DT), wide, rows, field(job, k.RANK), inner)
    for r in range(rows):
        h, here, z = field(job, tiles.STATE) + (first + r) * matrix, r * wide, xz + (2 * r + 1) * wide
        _scan(job, h, u + here, delta + here, z, dbc + r * stride, y + here, scratch)
    copy(out, x, rows * width)
    product(1, out, row, y, wide, FLOAT, field(job, k.W_OUT), row, rows, inner, width)


@Worker
def step(job: int) -> None:
    """Take items until none is left."""
    scratch, item, items, batch = own_scratch(job), next_item(job), field(job, k.ITEMS), field(job, tiles.BATCH)
    while item < items:
        last = share(item + 1, items, batch)
        for first in range(share(item, items, batch), last, CHUNK):
            _chunk(job, first, min(CHUNK, last - first), scratch)
        item = next_item(job)
