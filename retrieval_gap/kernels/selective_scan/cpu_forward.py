"""Forward selective scan on CPU: 16 channels per vector, four states together in registers.

Legend: B batch, L time, D channels, N states per channel.

If gradients are needed, only the state before every chunk of 16 steps is kept: the backward pass recomputes those
in between (Gu & Dao 2023, arXiv 2312.00752, section 3.3.2).
"""

from __future__ import annotations

from retrieval_gap.kernels.cpu import FLOAT, LANES, VECTOR
from retrieval_gap.kernels.cpu.elementary import exp2_of_product, silu, softplus
from retrieval_gap.kernels.cpu.jobs import Worker, field, next_item, own_scratch
from retrieval_gap.kernels.cpu.lanes import compiled, fma, inline
from retrieval_gap.kernels.cpu.memory import load, prefetch, store
from retrieval_gap.kernels.cpu.rows import copy
from retrieval_gap.kernels.selective_scan import cpu_tiles as tiles

# The rows of a chunk, for one vector of channels: softplus(delta), that times x, the output.
STEP, INPUT, OUTPUT = (tiles.CHUNK * VECTOR * i for i in range(3))
_ROWS = 3 * tiles.CHUNK * VECTOR
GROUP_ROW = tiles.GROUP * VECTOR


def scratch_bytes(vectors: int, states: int) -> int:
    """Bytes per worker: tiles of A and the state, vectors of D and bias, a chunk's rows."""
    return VECTOR * (2 * vectors * states + 2 * vectors) + _ROWS


@inline
def advance(
    rates: int, state: int, B: int, B_stride: int, C: int, C_stride: int,
    rows: int, steps: int, history: int, decays: int,
) -> None:  # fmt: skip
    """Advance four states of 16 channels by `steps`, and add their part of <h, C> to the output.

    history, decays: where every state, the first included, and every decay are written for the backward pass; 0, 0:
    the last state overwrites the first instead.
    """
    A0, A1, A2, A3 = tiles.load_group(rates)
    h0, h1, h2, h3 = tiles.load_group(state)
    if history != 0:
        tiles.store_group(history, h0, h1, h2, h3)
    for t in range(steps):
        row = rows + t * VECTOR
        step, u, y = load(row + STEP), load(row + INPUT), load(row + OUTPUT)
        B0, B1, B2, B3 = tiles.splat_group(B + t * B_stride)
        C0, C1, C2, C3 = tiles.splat_group(C + t * C_stride)
        a0, a1 = exp2_of_product(step, A0), exp2_of_product(step, A1)
        a2, a3 = exp2_of_product(step, A2), exp2_of_product(step, A3)
        h0, h1, h2, h3 = fma(a0, h0, u * B0), fma(a1, h1, u * B1), fma(a2, h2, u * B2), fma(a3, h3, u * B3)
        store(row + OUTPUT, fma(h3, C3, fma(h2, C2, fma(h1, C1, fma(h0, C0, y)))))
        if history != 0:
            tiles.store_group(decays + t * GROUP_ROW, a0, a1, a2, a3)
            tiles.store_group(history + (t + 1) * GROUP_ROW, h0, h1, h2, h3)
    if history == 0:
        tiles.store_group(state, h0, h1, h2, h3)


@compiled
def _open(job: int, b: int, start: int, steps: int, first: int, D: int, bias: int, rows: int) -> None:
    """Before the scan of a chunk: softplus, delta x, and D x as the output's first term."""
    x, x_stride = tiles.at(job, tiles.X, b, start, first), field(job, tiles.X + 2)
    delta, delta_stride = tiles.at(job, tiles.DELTA, b, start, first), field(job, tiles.DELTA + 2)
    skip, shift = load(D), load(bias)
    for t in range(steps):
        row, value = rows + t * VECTOR, load(x + t * x_stride)
        prefetch(x + (t + tiles.CHUNK) * x_stride)
        prefetch(delta + (t + tiles.CHUNK) * delta_stride)
        step = softplus(load(delta + t * delta_stride) + shift)
        store(row + STEP, step)
        store(row + INPUT, step * value)
        store(row + OUTPUT, skip * value)


@compiled
def _close(job: int, b: int, start: int, steps: int, first: int, rows: int) -> None:
    """After the scan of a chunk: apply the gate and write y."""
    z, z_stride = tiles.at(job, tiles.Z, b, start, first), field(job, tiles.Z + 2)
    y, y_stride = tiles.at(job, tiles.Y, b, start, first), field(job, tiles.Y + 2)
    if field(job, tiles.Z) != 0:
        for t in range(steps):
            prefetch(z + (t + tiles.CHUNK) * z_stride)
            store(y + t * y_stride, load(rows + OUTPUT + t * VECTOR) * silu(load(z + t * z_stride)))
    else:
        for t in range(steps):
            store(y + t * y_stride, load(rows + OUTPUT + t * VECTOR))


@compiled
def scan_item(job: int, b: int, block: int, scratch: int) -> None:
    """One sequence and one block of channels, from the first step to the last."""
    length, states, all_channels = field(job, tiles.LENGTH), field(job, tiles.STATES), field(job, tiles.CHANNELS)
    first, vectors = block * field(job, tiles.BLOCK), tiles.vectors_of(job, block)
    rates = scratch
    state = rates + vectors * states * VECTOR
    D = state + vectors * states * VECTOR
    bias = D + vectors * VECTOR
    rows = bias + vectors * VECTOR
    own_state, row = b * all_channels * states + first, all_channels * FLOAT
    tiles.load_tile(rates, tiles.flat_at(job, tiles.A, first), row, vectors, states)
    tiles.load_tile(state, tiles.flat_at(job, tiles.STATE, own_state), row, vectors, states)
    tiles.load_channels(D, tiles.flat_at(job, tiles.D, first), vectors)
    tiles.load_channels(bias, tiles.flat_at(job, tiles.BIAS, first), vectors)
    B_stride, C_stride = field(job, tiles.B + 2), field(job, tiles.C + 2)
    for start in range(0, length, tiles.CHUNK):
        steps = min(tiles.CHUNK, length - start)
        if field(job, tiles.BOUNDARIES) != 0:
            copy(tiles.boundary_of(job, b, block, start // tiles.CHUNK), state, vectors * states * LANES)
        for v in range(vectors):
            here = first + v * LANES
            _open(job, b, start, steps, here, D + v * VECTOR, bias + v * VECTOR, rows)
            for n in range(0, states, tiles.GROUP):
                B, C = tiles.at(job, tiles.B, b, start, n), tiles.at(job, tiles.C, b, start, n)
                tile = (v * states + n) * VECTOR
                advance(rates + tile, state + tile, B, B_stride, C, C_stride, rows, steps, 0, 0)
            _close(job, b, start, steps, here, rows)
    tiles.store_tile(tiles.flat_at(job, tiles.STATE_OUT, own_state), row, state, vectors, states)


@Worker
def forward(job: int) -> None:
    """Take (sequence, block of channels) items until none is left."""
    scratch, blocks = own_scratch(job), tiles.blocks_of(job)
    item = next_item(job)
    while item < field(job, tiles.BATCH) * blocks:
        scan_item(job, item // blocks, item % blocks, scratch)
        item = next_item(job)
