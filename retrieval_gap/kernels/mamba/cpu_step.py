"""A residual Mamba layer on CPU for one token of each sequence: a decode step.

Legend: B batch, D model width, I inner width, N states per channel, R rank of delta, T columns of B, C and delta.

An item is a share of the sequences; some of them go through the projections together. The fields are those of the
layer, but A is (I, N): here the 16 lanes of a vector are states of one channel, as they lie in memory, for a step is
too short to rearrange its state first. The window (B, 3, I) and the state (B, I, N) are written over.
"""

from __future__ import annotations

from retrieval_gap.kernels.causal_conv1d.cpu import BEFORE
from retrieval_gap.kernels.cpu import FLOAT, LANES, VECTOR
from retrieval_gap.kernels.cpu.elementary import LOG2_E, exp2_of_product, silu, softplus
from retrieval_gap.kernels.cpu.jobs import Worker, field, next_item, own_scratch, real_field
from retrieval_gap.kernels.cpu.lanes import ZERO, compiled, fma, splat, sums_of_eight
from retrieval_gap.kernels.cpu.memory import load, load_scalar, store
from retrieval_gap.kernels.cpu.products import product
from retrieval_gap.kernels.cpu.rows import copy, normalise, share
from retrieval_gap.kernels.mamba import cpu_layer as k
from retrieval_gap.kernels.selective_scan import cpu_tiles as tiles

# Sequences that go through a projection together.
CHUNK = 32
# The scan's scratch memory: 16 channels' step and step x, a vector each; their products with C.
_STEP, _INPUT, _TERMS = (VECTOR * i for i in range(3))
_SCAN_BYTES = _TERMS + LANES * VECTOR


def scratch_bytes(width: int, inner: int, columns: int) -> int:
    """What a worker needs: the scan's; a chunk's norm, xz, u, delta, y, and B, C, delta's columns."""
    return _SCAN_BYTES + CHUNK * FLOAT * (width + 5 * inner + columns)


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
def _advance(A: int, h: int, lane: int, states: int, scratch: int, B: int, C: int) -> None:
    """The states of one channel; its products with C go to the channel's vector of terms."""
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
    """One sequence, whose state is at `h`; C lies behind B."""
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
        # Lanes 8 to 15 repeat lanes 0 to 7: the second half is written over them.
        low, high = sums_of_eight(scratch + _TERMS), sums_of_eight(scratch + _TERMS + 8 * VECTOR)
        store(scratch + _TERMS, low)
        store(scratch + _TERMS + 8 * FLOAT, high)
        out = fma(load(field(job, tiles.D) + here), x, load(scratch + _TERMS))
        store(y + here, out * silu(load(z + here)))


@compiled
def _chunk(job: int, first: int, rows: int, scratch: int) -> None:
    width, inner, columns = field(job, k.WIDTH), field(job, tiles.CHANNELS), field(job, k.COLUMNS)
    row, wide, stride, matrix = width * FLOAT, inner * FLOAT, columns * FLOAT, inner * field(job, tiles.STATES) * FLOAT
    x, out = field(job, k.IN) + first * row, field(job, k.OUT) + first * row
    normed = scratch + _SCAN_BYTES
    xz = normed + CHUNK * row
    u, delta, y, dbc = xz + 2 * CHUNK * wide, xz + 3 * CHUNK * wide, xz + 4 * CHUNK * wide, xz + 5 * CHUNK * wide
    normalise(normed, x, field(job, k.GAIN), rows, width, real_field(job, k.EPS))
    product(0, xz, 2 * wide, normed, row, FLOAT, field(job, k.W_IN), 2 * wide, rows, width, 2 * inner)
    for r in range(rows):
        window = field(job, k.WINDOW) + (first + r) * BEFORE * wide
        _convolve(u + r * wide, window, xz + 2 * r * wide, field(job, k.FILTER), field(job, k.FILTER_BIAS), wide)
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
