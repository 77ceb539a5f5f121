"""Backward selective scan on CPU: 16 channels per vector, four states together in registers.

Legend: B batch, L time, D channels, N states per channel.

Chunks run from the last to the first. The states inside a chunk are recomputed from the state that the forward
pass kept, four states at a time, so that their history stays in the first-level cache; then time runs backwards
over it. Sums over sequences (A, D, bias) are left as one partial sum per sequence, sums over channels (B, C) as
one per block of channels: the caller adds them in a fixed order.
"""

from __future__ import annotations

from typing import Any

from retrieval_gap.kernels.cpu import FLOAT, LANES, VECTOR
from retrieval_gap.kernels.cpu.elementary import LN_2, exp_of_minus_absolute, sigmoid, sigmoid_from, softplus_from
from retrieval_gap.kernels.cpu.jobs import Worker, field, next_item, own_scratch
from retrieval_gap.kernels.cpu.lanes import ONE, ZERO, compiled, fma, inline, splat, sums_of_eight
from retrieval_gap.kernels.cpu.memory import load, load_scalar, prefetch, store, store_scalar
from retrieval_gap.kernels.cpu.rows import clear, copy
from retrieval_gap.kernels.selective_scan import cpu_tiles as tiles
from retrieval_gap.kernels.selective_scan.cpu_forward import GROUP_ROW, INPUT, OUTPUT, STEP, advance

# The rows of a chunk, for each vector of channels: after those of the forward pass the slope of softplus(delta), the
# gradient of the output before the gate, the other factor of the gate's gradient, and the gradients of delta x and of
# softplus(delta) (the latter through the decay only, and in units of ln 2).
SLOPE, GRAD_OUTPUT, GATE, GRAD_INPUT, GRAD_STEP = (tiles.CHUNK * VECTOR * i for i in range(3, 8))
ROWS = 8 * tiles.CHUNK * VECTOR


@compiled
def _open_chunk(job: int, b: int, start: int, steps: int, first: int, D: int, bias: int, rows: int) -> None:
    """Before a chunk: softplus and its slope, delta x, D x, and the gradient that comes through the gate."""
    x, x_stride = tiles.at(job, tiles.X, b, start, first), field(job, tiles.X + 2)
    delta, delta_stride = tiles.at(job, tiles.DELTA, b, start, first), field(job, tiles.DELTA + 2)
    z, z_stride = tiles.at(job, tiles.Z, b, start, first), field(job, tiles.Z + 2)
    grad, grad_stride = tiles.at(job, tiles.GRAD_Y, b, start, first), field(job, tiles.GRAD_Y + 2)
    skip, shift = load(D), load(bias)
    for t in range(steps):
        row, value = rows + t * VECTOR, load(x + t * x_stride)
        prefetch(x + (t - tiles.CHUNK) * x_stride)
        prefetch(delta + (t - tiles.CHUNK) * delta_stride)
        raw = load(delta + t * delta_stride) + shift
        e = exp_of_minus_absolute(raw)
        step = softplus_from(raw, e)
        store(row + STEP, step)
        store(row + SLOPE, sigmoid_from(raw, e))
        store(row + INPUT, step * value)
        store(row + OUTPUT, skip * value)
        store(row + GRAD_INPUT, splat(ZERO))
        store(row + GRAD_STEP, splat(ZERO))
    if field(job, tiles.Z) != 0:
        for t in range(steps):
            row, gate, out = rows + t * VECTOR, load(z + t * z_stride), load(grad + t * grad_stride)
            prefetch(z + (t - tiles.CHUNK) * z_stride)
            prefetch(grad + (t - tiles.CHUNK) * grad_stride)
            passed = sigmoid(gate)
            store(row + GRAD_OUTPUT, out * gate * passed)
            store(row + GATE, out * passed * fma(gate, splat(ONE) - passed, splat(ONE)))
    else:
        for t in range(steps):
            store(rows + t * VECTOR + GRAD_OUTPUT, load(grad + t * grad_stride))


@compiled
def _close_chunk(
    job: int, b: int, start: int, steps: int, first: int, D: int, grad_D: int, grad_bias: int, rows: int
) -> None:
    """After a chunk: the gradients of x, delta and z, and this chunk's share of those of D and the bias."""
    x, x_stride = tiles.at(job, tiles.X, b, start, first), field(job, tiles.X + 2)
    dx, dx_stride = tiles.at(job, tiles.GRAD_X, b, start, first), field(job, tiles.GRAD_X + 2)
    dd, dd_stride = tiles.at(job, tiles.GRAD_DELTA, b, start, first), field(job, tiles.GRAD_DELTA + 2)
    dz, dz_stride = tiles.at(job, tiles.GRAD_Z, b, start, first), field(job, tiles.GRAD_Z + 2)
    skip, sum_D, sum_bias = load(D), load(grad_D), load(grad_bias)
    for t in range(steps):
        row, value = rows + t * VECTOR, load(x + t * x_stride)
        du, dy = load(row + GRAD_INPUT), load(row + GRAD_OUTPUT)
        grad_raw = fma(load(row + GRAD_STEP), splat(LN_2), du * value) * load(row + SLOPE)
        sum_D, sum_bias = fma(dy, value, sum_D), sum_bias + grad_raw
        store(dx + t * dx_stride, fma(du, load(row + STEP), skip * dy))
        store(dd + t * dd_stride, grad_raw)
    store(grad_D, sum_D)
    store(grad_bias, sum_bias)
    if field(job, tiles.Z) != 0:
        for t in range(steps):
            row = rows + t * VECTOR
            store(dz + t * dz_stride, load(row + GATE) * load(row + OUTPUT))


def scratch_bytes(vectors: int, states: int) -> int:
    """Bytes per worker: 3 tiles, 4 rows of vectors, rows, staging, the history and decays of four states, sums."""
    return VECTOR * (vectors * (3 * states + 4) + 1) + vectors * ROWS + GROUP_ROW * (4 * tiles.CHUNK + 1)


@inline
def _step_back(
    A: Any, B: Any, C: Any, decay: int, before: Any, now: Any, grad_h: Any, grad_A: Any, sums: int,
    step: Any, u: Any, grad_y: Any, grad_u: Any, grad_step: Any,
) -> Any:  # fmt: skip
    """Go one step back with one state. Adds the channels' terms of dB and dC to `sums`; returns running gradients."""
    grad_h = fma(grad_y, C, grad_h)
    store(sums, fma(grad_h, u, load(sums)))
    store(sums + GROUP_ROW, fma(grad_y, now, load(sums + GROUP_ROW)))
    grad_u = fma(grad_h, B, grad_u)
    grad_h = grad_h * load(decay)
    through_decay = grad_h * before
    return grad_h, fma(through_decay, step, grad_A), grad_u, fma(through_decay, A, grad_step)


@inline
def _go_back(
    rates: int, grad_state: int, grad_A: int, B: int, B_stride: int, C: int, C_stride: int,
    rows: int, states: int, decays: int, sums: int, steps: int,
) -> None:  # fmt: skip
    """Go back with four states of 16 channels, from the last step of a chunk to its first."""
    A0, A1, A2, A3 = tiles.load_group(rates)
    g0, g1, g2, g3 = tiles.load_group(grad_state)
    s0, s1, s2, s3 = tiles.load_group(grad_A)
    h0, h1, h2, h3 = tiles.load_group(states + steps * GROUP_ROW)
    for back in range(steps):
        t = steps - 1 - back
        row, a, terms = rows + t * VECTOR, decays + t * GROUP_ROW, sums + 2 * t * GROUP_ROW
        step, u, dy = load(row + STEP), load(row + INPUT), load(row + GRAD_OUTPUT)
        du, ds = load(row + GRAD_INPUT), load(row + GRAD_STEP)
        B0, B1, B2, B3 = tiles.splat_group(B + t * B_stride)
        C0, C1, C2, C3 = tiles.splat_group(C + t * C_stride)
        p0, p1, p2, p3 = tiles.load_group(states + t * GROUP_ROW)
        g0, s0, du, ds = _step_back(A0, B0, C0, a, p0, h0, g0, s0, terms, step, u, dy, du, ds)
        g1, s1, du, ds = _step_back(A1, B1, C1, a + VECTOR, p1, h1, g1, s1, terms + VECTOR, step, u, dy, du, ds)
        a, terms = a + 2 * VECTOR, terms + 2 * VECTOR
        g2, s2, du, ds = _step_back(A2, B2, C2, a, p2, h2, g2, s2, terms, step, u, dy, du, ds)
        g3, s3, du, ds = _step_back(A3, B3, C3, a + VECTOR, p3, h3, g3, s3, terms + VECTOR, step, u, dy, du, ds)
        h0, h1, h2, h3 = p0, p1, p2, p3
        store(row + GRAD_INPUT, du)
        store(row + GRAD_STEP, ds)
    tiles.store_group(grad_state, g0, g1, g2, g3)
    tiles.store_group(grad_A, s0, s1, s2, s3)


@compiled
def _write_sums(job: int, sums: int, place: int, start: int, steps: int, n: int, staging: int) -> None:
    """Write the sums over channels of the terms of dB and dC of four states, and clear the terms for the next four."""
    for t in range(steps):
        terms = sums + 2 * t * GROUP_ROW
        store(staging, sums_of_eight(terms))
        for i in range(2 * tiles.GROUP):
            store(terms + i * VECTOR, splat(ZERO))
        grad_B = tiles.at(job, tiles.GRAD_B, place, start + t, n)
        grad_C = tiles.at(job, tiles.GRAD_C, place, start + t, n)
        for k in range(0, tiles.GROUP * FLOAT, FLOAT):
            store_scalar(grad_B + k, load_scalar(staging + k))
            store_scalar(grad_C + k, load_scalar(staging + tiles.GROUP * FLOAT + k))


@inline
def _rooms(scratch: int, vectors: int, states: int) -> Any:
    """Addresses in a worker's scratch memory: tiles, vectors of channels, rows, and what a chunk needs."""
    rates = scratch
    grad_A = rates + vectors * states * VECTOR
    grad_state = grad_A + vectors * states * VECTOR
    D = grad_state + vectors * states * VECTOR
    bias, grad_D, grad_bias = D + vectors * VECTOR, D + 2 * vectors * VECTOR, D + 3 * vectors * VECTOR
    rows = D + 4 * vectors * VECTOR
    staging = rows + vectors * ROWS
    history = staging + VECTOR
    decays = history + (tiles.CHUNK + 1) * GROUP_ROW
    sums = decays + tiles.CHUNK * GROUP_ROW
    return (rates, grad_A, grad_state), (D, bias, grad_D, grad_bias), (rows, staging, history, decays, sums)


@compiled
def _scan_chunk_back(job: int, b: int, block: int, chunk: int, scratch: int) -> None:
    """One chunk of one item: recompute its states from the kept one, then go backwards in time."""
    start, states, first = chunk * tiles.CHUNK, field(job, tiles.STATES), block * field(job, tiles.BLOCK)
    steps, vectors = min(tiles.CHUNK, field(job, tiles.LENGTH) - start), tiles.vectors_of(job, block)
    kept = tiles.boundary_of(job, b, block, chunk)
    B_stride, C_stride = field(job, tiles.B + 2), field(job, tiles.C + 2)
    (rates, grad_A, grad_state), (D, bias, grad_D, grad_bias), own = _rooms(scratch, vectors, states)
    all_rows, staging, history, decays, sums = own
    for v in range(vectors):
        i = v * VECTOR
        _open_chunk(job, b, start, steps, first + v * LANES, D + i, bias + i, all_rows + v * ROWS)
    for i in range(vectors * states):
        prefetch(kept + i * VECTOR)
    for n in range(0, states, tiles.GROUP):
        B, C = tiles.at(job, tiles.B, b, start, n), tiles.at(job, tiles.C, b, start, n)
        for v in range(vectors):
            tile, rows = (v * states + n) * VECTOR, all_rows + v * ROWS
            A, state, grads = rates + tile, grad_state + tile, grad_A + tile
            advance(A, kept + tile, B, B_stride, C, C_stride, rows, steps, history, decays)
            _go_back(A, state, grads, B, B_stride, C, C_stride, rows, history, decays, sums, steps)
        _write_sums(job, sums, block * field(job, tiles.BATCH) + b, start, steps, n, staging)
    for v in range(vectors):
        i = v * VECTOR
        _close_chunk(job, b, start, steps, first + v * LANES, D + i, grad_D + i, grad_bias + i, all_rows + v * ROWS)


@compiled
def scan_item_back(job: int, b: int, block: int, scratch: int) -> None:
    """One sequence and one block of channels, from the last step to the first."""
    states, all_channels, vectors = field(job, tiles.STATES), field(job, tiles.CHANNELS), tiles.vectors_of(job, block)
    first, row = block * field(job, tiles.BLOCK), all_channels * FLOAT
    (rates, grad_A, grad_state), (D, bias, grad_D, grad_bias), own = _rooms(scratch, vectors, states)
    own_state, own_channels = b * all_channels * states + first, b * all_channels + first
    tiles.load_tile(rates, tiles.flat_at(job, tiles.A, first), row, vectors, states)
    tiles.load_tile(grad_state, tiles.flat_at(job, tiles.GRAD_STATE_OUT, own_state), row, vectors, states)
    tiles.load_channels(D, tiles.flat_at(job, tiles.D, first), vectors)
    tiles.load_channels(bias, tiles.flat_at(job, tiles.BIAS, first), vectors)
    clear(grad_A, vectors * LANES * states)
    clear(grad_D, 2 * vectors * LANES)
    clear(own[4], 2 * tiles.CHUNK * tiles.GROUP * LANES)
    chunks = (field(job, tiles.LENGTH) + tiles.CHUNK - 1) // tiles.CHUNK
    for back in range(chunks):
        _scan_chunk_back(job, b, block, chunks - 1 - back, scratch)
    tiles.store_tile(tiles.flat_at(job, tiles.GRAD_A, own_state), row, grad_A, vectors, states)
    copy(tiles.flat_at(job, tiles.GRAD_D, own_channels), grad_D, vectors * LANES)
    copy(tiles.flat_at(job, tiles.GRAD_BIAS, own_channels), grad_bias, vectors * LANES)
    tiles.store_tile(tiles.flat_at(job, tiles.GRAD_STATE, own_state), row, grad_state, vectors, states)


@Worker
def backward(job: int) -> None:
    """Take (sequence, block of channels) items until none is left."""
    scratch, blocks = own_scratch(job), tiles.blocks_of(job)
    item = next_item(job)
    while item < field(job, tiles.BATCH) * blocks:
        scan_item_back(job, item // blocks, item % blocks, scratch)
        item = next_item(job)
