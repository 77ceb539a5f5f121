"""Backward selective scan on CPU: 16 channels in a vector, four states at once in registers.

Legend: B batch, L time, D channels, N states per channel.

Chunks run from the last to the first. The states inside a chunk are computed again from the state that the
forward pass kept, four states at a time, so that their history stays in the first-level cache; then time runs
backwards over it. Sums over sequences (A, D, bias) are left as one partial per sequence, sums over channels
(B, C) as one per block of channels: whoever calls adds them in a fixed order.
"""

from __future__ import annotations

from typing import Any

from retrieval_gap.kernels.cpu.elementary import (
    exp2_of_product,
)
from retrieval_gap.kernels.cpu.jobs import Worker, field, next_item, own_scratch
from retrieval_gap.kernels.cpu.lanes import (
    FLOAT,
    LANES,
    VECTOR,
    ZERO,
    compiled,
    fma,
    inline,
    load,
    load_scalar,
    prefetch,
    splat,
    store,
    store_scalar,
    sums_of_eight,
)
from retrieval_gap.kernels.selective_scan import cpu_tiles as tiles
from retrieval_gap.kernels.selective_scan.cpu_backward_ends import (
    GRAD_INPUT,
    GRAD_OUTPUT,
    GRAD_STEP,
    INPUT,
    OUTPUT,
    ROWS,
    STAGING,
    STEP,
    close_chunk,
    open_chunk,
)
from retrieval_gap.kernels.selective_scan.cpu_tiles import (
    CHUNK,
    GROUP,
    at,
    flat_at,
    load_group,
    load_rates,
    load_rows,
    load_tile,
    splat_group,
    store_group,
    store_tile,
)

_GROUP_ROW = GROUP * VECTOR


def scratch_bytes(vectors: int, padded: int) -> int:
    """What a worker needs: 3 tiles, 4 rows of vectors, rows, staging, history with sums, and a chunk's B and C."""
    history_and_sums = _GROUP_ROW * (CHUNK + 1) + 3 * _GROUP_ROW * CHUNK
    return (
        VECTOR * vectors * (3 * padded + 4)
        + (vectors * ROWS + 4 * STAGING + history_and_sums)
        + 2 * FLOAT * CHUNK * padded
    )


@inline
def _advance_and_record(
    rates: int, state: int, B: int, C: int, rows: int, states: int, decays: int, steps: int, padded: int
) -> None:
    """The forward pass over a chunk again, for four states; every state (the first too) and decay is written down."""
    A0, A1, A2, A3 = load_group(rates)
    h0, h1, h2, h3 = load_group(state)
    store_group(states, h0, h1, h2, h3)
    for t in range(steps):
        row = rows + t * VECTOR
        step, u, y = load(row + STEP), load(row + INPUT), load(row + OUTPUT)
        B0, B1, B2, B3 = splat_group(B + t * padded * FLOAT)
        C0, C1, C2, C3 = splat_group(C + t * padded * FLOAT)
        a0, a1 = exp2_of_product(step, A0), exp2_of_product(step, A1)
        a2, a3 = exp2_of_product(step, A2), exp2_of_product(step, A3)
        h0, h1, h2, h3 = fma(a0, h0, u * B0), fma(a1, h1, u * B1), fma(a2, h2, u * B2), fma(a3, h3, u * B3)
        store(row + OUTPUT, fma(h3, C3, fma(h2, C2, fma(h1, C1, fma(h0, C0, y)))))
        store_group(decays + t * _GROUP_ROW, a0, a1, a2, a3)
        store_group(states + (t + 1) * _GROUP_ROW, h0, h1, h2, h3)


@inline
def _step_back(
    A: Any,
    B: Any,
    C: Any,
    decay: int,
    before: Any,
    now: Any,
    grad_h: Any,
    grad_A: Any,
    sums: int,
    step: Any,
    u: Any,
    grad_y: Any,
    grad_u: Any,
    grad_step: Any,
) -> Any:
    """One state one step back. Adds the channels' terms of dB and dC to `sums`; returns the running gradients."""
    grad_h = fma(grad_y, C, grad_h)
    store(sums, fma(grad_h, u, load(sums)))
    store(sums + _GROUP_ROW, fma(grad_y, now, load(sums + _GROUP_ROW)))
    grad_u = fma(grad_h, B, grad_u)
    grad_h = grad_h * load(decay)
    through_decay = grad_h * before
    return grad_h, fma(through_decay, step, grad_A), grad_u, fma(through_decay, A, grad_step)


@inline
def _go_back(
    rates: int,
    grad_state: int,
    grad_A: int,
    B: int,
    C: int,
    rows: int,
    states: int,
    decays: int,
    sums: int,
    steps: int,
    padded: int,
) -> None:
    """Four states of 16 channels, from the last step of a chunk to its first."""
    A0, A1, A2, A3 = load_group(rates)
    g0, g1, g2, g3 = load_group(grad_state)
    s0, s1, s2, s3 = load_group(grad_A)
    h0, h1, h2, h3 = load_group(states + steps * _GROUP_ROW)
    for back in range(steps):
        t = steps - 1 - back
        row, a, total = rows + t * VECTOR, decays + t * _GROUP_ROW, sums + 2 * t * _GROUP_ROW
        step, u, dy = load(row + STEP), load(row + INPUT), load(row + GRAD_OUTPUT)
        du, ds = load(row + GRAD_INPUT), load(row + GRAD_STEP)
        B0, B1, B2, B3 = splat_group(B + t * padded * FLOAT)
        C0, C1, C2, C3 = splat_group(C + t * padded * FLOAT)
        p0, p1, p2, p3 = load_group(states + t * _GROUP_ROW)
        g0, s0, du, ds = _step_back(A0, B0, C0, a, p0, h0, g0, s0, total, step, u, dy, du, ds)
        a, total = a + VECTOR, total + VECTOR
        g1, s1, du, ds = _step_back(A1, B1, C1, a, p1, h1, g1, s1, total, step, u, dy, du, ds)
        a, total = a + VECTOR, total + VECTOR
        g2, s2, du, ds = _step_back(A2, B2, C2, a, p2, h2, g2, s2, total, step, u, dy, du, ds)
        a, total = a + VECTOR, total + VECTOR
        g3, s3, du, ds = _step_back(A3, B3, C3, a, p3, h3, g3, s3, total, step, u, dy, du, ds)
        h0, h1, h2, h3 = p0, p1, p2, p3
        store(row + GRAD_INPUT, du)
        store(row + GRAD_STEP, ds)
    store_group(grad_state, g0, g1, g2, g3)
    store_group(grad_A, s0, s1, s2, s3)


@compiled
def _write_sums(job: int, sums: int, place: int, start: int, steps: int, n: int, count: int, staging: int) -> None:
    """Add up the channels' terms of dB and dC of four states, and leave zeros for the next four."""
    for t in range(steps):
        terms = sums + 2 * t * _GROUP_ROW
        store(staging, sums_of_eight(terms))
        for i in range(2 * GROUP):
            store(terms + i * VECTOR, splat(ZERO))
        grad_B, grad_C = (
            at(job, tiles.GRAD_B, place, start + t, n),
            at(job, tiles.GRAD_C, place, start + t, n),
        )
        for k in range(count):
            store_scalar(grad_B + k * FLOAT, load_scalar(staging + k * FLOAT))
            store_scalar(grad_C + k * FLOAT, load_scalar(staging + (GROUP + k) * FLOAT))


@inline
def _rooms(scratch: int, vectors: int, padded: int) -> Any:
    """Where in a worker's scratch memory things are: tiles, vectors of channels, rows, and what a chunk needs."""
    rates = scratch
    grad_A = rates + vectors * padded * VECTOR
    grad_state = grad_A + vectors * padded * VECTOR
    D = grad_state + vectors * padded * VECTOR
    bias, grad_D, grad_bias = D + vectors * VECTOR, D + 2 * vectors * VECTOR, D + 3 * vectors * VECTOR
    rows = D + 4 * vectors * VECTOR
    staging = rows + vectors * ROWS
    history = staging + 4 * STAGING
    decays = history + (CHUNK + 1) * _GROUP_ROW
    sums = decays + CHUNK * _GROUP_ROW
    B = sums + 2 * CHUNK * _GROUP_ROW
    C = B + CHUNK * padded * FLOAT
    return rates, grad_A, grad_state, D, bias, grad_D, grad_bias, rows, staging, history, decays, sums, B, C


@compiled
def _scan_chunk_back(job: int, b: int, block: int, chunk: int, scratch: int) -> None:
    """One chunk of one item: its states again from the one that was kept, then time backwards."""
    start, states, padded = chunk * CHUNK, field(job, tiles.STATES), tiles.padded_states(job)
    steps, first, channels = (
        min(CHUNK, field(job, tiles.LENGTH) - start),
        block * field(job, tiles.BLOCK),
        tiles.channels_of(job, block),
    )
    vectors, kept = tiles.vectors_of(channels), tiles.boundary_of(job, b, block, chunk, padded)
    rates, grad_A, grad_state, D, bias, grad_D, grad_bias, all_rows, staging, history, decays, sums, B, C = _rooms(
        scratch, vectors, padded
    )
    load_rows(B, at(job, tiles.B, b, start, 0), field(job, tiles.B + 2), steps, states, padded)
    load_rows(C, at(job, tiles.C, b, start, 0), field(job, tiles.C + 2), steps, states, padded)
    for v in range(vectors):
        here, count, rows, i = first + v * LANES, channels - v * LANES, all_rows + v * ROWS, v * VECTOR
        open_chunk(job, b, start, steps, here, count, D + i, bias + i, rows, staging)
    for i in range(vectors * padded):
        prefetch(kept + i * VECTOR)
    for n in range(0, padded, GROUP):
        B_n, C_n = B + n * FLOAT, C + n * FLOAT
        for v in range(vectors):
            tile, rows = (v * padded + n) * VECTOR, all_rows + v * ROWS
            A, state, grads = rates + tile, grad_state + tile, grad_A + tile
            _advance_and_record(A, kept + tile, B_n, C_n, rows, history, decays, steps, padded)
            _go_back(A, state, grads, B_n, C_n, rows, history, decays, sums, steps, padded)
        place = block * field(job, tiles.BATCH) + b
        _write_sums(job, sums, place, start, steps, n, min(GROUP, states - n), staging)
    for v in range(vectors):
        here, count, rows, i = first + v * LANES, channels - v * LANES, all_rows + v * ROWS, v * VECTOR
        close_chunk(job, b, start, steps, here, count, D + i, grad_D + i, grad_bias + i, rows, staging)


@compiled
def _scan_item_back(job: int, b: int, block: int, scratch: int) -> None:
    """One sequence and one block of channels, from the last step to the first."""
    states, all_channels, padded = field(job, tiles.STATES), field(job, tiles.CHANNELS), tiles.padded_states(job)
    first, channels = block * field(job, tiles.BLOCK), tiles.channels_of(job, block)
    rates, grad_A, grad_state, D, bias, grad_D, grad_bias, _, _, _, _, sums, _, _ = _rooms(
        scratch, tiles.vectors_of(channels), padded
    )
    own_state, own_channels = (b * all_channels + first) * states, b * all_channels + first
    load_rates(rates, flat_at(job, tiles.A, first * states), channels, states, padded)
    load_tile(grad_state, flat_at(job, tiles.GRAD_STATE_OUT, own_state), channels, states, padded)
    load_tile(D, flat_at(job, tiles.D, first), channels, 1, 1)
    load_tile(bias, flat_at(job, tiles.BIAS, first), channels, 1, 1)
    load_tile(grad_A, 0, channels, states, padded)
    load_tile(grad_D, 0, channels, 1, 1)
    load_tile(grad_bias, 0, channels, 1, 1)
    load_tile(sums, 0, LANES, 2 * CHUNK * GROUP, 2 * CHUNK * GROUP)
    chunks = (field(job, tiles.LENGTH) + CHUNK - 1) // CHUNK
    for back in range(chunks):
        _scan_chunk_back(job, b, block, chunks - 1 - back, scratch)
    store_tile(flat_at(job, tiles.GRAD_A, own_state), grad_A, channels, states, padded)
    store_tile(flat_at(job, tiles.GRAD_D, own_channels), grad_D, channels, 1, 1)
    store_tile(flat_at(job, tiles.GRAD_BIAS, own_channels), grad_bias, channels, 1, 1)
    if field(job, tiles.GRAD_STATE) != 0:
        store_tile(flat_at(job, tiles.GRAD_STATE, own_state), grad_state, channels, states, padded)


@Worker
def backward(job: int) -> None:
    """Take (sequence, block of channels) items until none is left."""
    scratch, blocks = own_scratch(job), tiles.blocks_of(job)
    item = next_item(job)
    while item < field(job, tiles.BATCH) * blocks:
        _scan_item_back(job, item // blocks, item % blocks, scratch)
        item = next_item(job)
