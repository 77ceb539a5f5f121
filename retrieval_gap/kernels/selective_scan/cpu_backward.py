"""Backward selective scan on CPU: numba, 16 channels in a vector, four states at once in registers.

Legend: B batch, L time, D channels, N states per channel; V vectors of 16 channels in an item, P the states rounded
up to a multiple of 4, T the steps of a chunk.

Chunks run from the last to the first. The states inside a chunk are computed again from the state that the forward
pass kept, four states at a time, so that a chunk's history stays in the first-level cache; then time runs backwards
over it. Sums over sequences (A, D, bias) are left as one partial per sequence and sums over blocks of channels (B, C)
as one per block: whoever calls adds them in a fixed order, so the number of threads changes no bit of the result.
"""

from __future__ import annotations

from retrieval_gap.kernels.parallel import NEXT_ITEM, WORKERS_STARTED, Worker
from retrieval_gap.kernels.selective_scan import cpu_tiles as tiles
from retrieval_gap.kernels.selective_scan.cpu_tiles import (
    CHUNK,
    GROUP,
    field,
    load_rows,
    load_tile,
    sequence,
    store_tile,
)
from retrieval_gap.kernels.simd import (
    LANE_BYTES,
    LANES,
    ONE,
    VECTOR_BYTES,
    ZERO,
    exp,
    fma,
    inline,
    load,
    load_first,
    load_scalar,
    sigmoid,
    softplus,
    splat,
    store,
    store_first,
    store_scalar,
    take_ticket,
    total,
)

ROW = GROUP * VECTOR_BYTES
# The buffers of a chunk that hold one vector per step, for every vector of channels.
DELTA, U, GRAD_Y, GRAD_U, GRAD_DELTA, Y = range(6)
BUFFERS = 6
BUFFER_BYTES = CHUNK * VECTOR_BYTES


def scratch_bytes(vectors: int, padded: int) -> int:
    """What one worker needs: 4 tiles (A, state, their gradients), 4 vectors, a chunk's buffers, history, sums, B and C."""
    tiles_and_vectors = VECTOR_BYTES * vectors * (4 * padded + 4)
    history_and_sums = ROW * (CHUNK + 1) + 3 * ROW * CHUNK
    return (
        tiles_and_vectors
        + vectors * BUFFERS * BUFFER_BYTES
        + history_and_sums
        + 2 * LANE_BYTES * CHUNK * padded
    )


@inline
def _advance_and_record(
    A: int, h: int, B: int, C: int, buffers: int, states: int, decays: int, steps: int, padded: int
) -> None:
    """The forward pass over a chunk again, for four states: writes every state (the first one too) and every decay."""
    A0, A1, A2, A3 = load(A), load(A + VECTOR_BYTES), load(A + 2 * VECTOR_BYTES), load(A + 3 * VECTOR_BYTES)
    h0, h1, h2, h3 = load(h), load(h + VECTOR_BYTES), load(h + 2 * VECTOR_BYTES), load(h + 3 * VECTOR_BYTES)
    store(states, h0)
    store(states + VECTOR_BYTES, h1)
    store(states + 2 * VECTOR_BYTES, h2)
    store(states + 3 * VECTOR_BYTES, h3)
    for t in range(steps):
        at = buffers + t * VECTOR_BYTES
        step, u, y = load(at + DELTA * BUFFER_BYTES), load(at + U * BUFFER_BYTES), load(at + Y * BUFFER_BYTES)
        b, c = B + t * padded * LANE_BYTES, C + t * padded * LANE_BYTES
        decay, state = decays + t * ROW, states + (t + 1) * ROW
        a0, a1, a2, a3 = exp(step * A0), exp(step * A1), exp(step * A2), exp(step * A3)
        h0 = fma(a0, h0, u * splat(load_scalar(b)))
        h1 = fma(a1, h1, u * splat(load_scalar(b + LANE_BYTES)))
        h2 = fma(a2, h2, u * splat(load_scalar(b + 2 * LANE_BYTES)))
        h3 = fma(a3, h3, u * splat(load_scalar(b + 3 * LANE_BYTES)))
        y = fma(h0, splat(load_scalar(c)), y)
        y = fma(h1, splat(load_scalar(c + LANE_BYTES)), y)
        y = fma(h2, splat(load_scalar(c + 2 * LANE_BYTES)), y)
        y = fma(h3, splat(load_scalar(c + 3 * LANE_BYTES)), y)
        store(at + Y * BUFFER_BYTES, y)
        store(decay, a0)
        store(decay + VECTOR_BYTES, a1)
        store(decay + 2 * VECTOR_BYTES, a2)
        store(decay + 3 * VECTOR_BYTES, a3)
        store(state, h0)
        store(state + VECTOR_BYTES, h1)
        store(state + 2 * VECTOR_BYTES, h2)
        store(state + 3 * VECTOR_BYTES, h3)


@inline
def _one_state_back(
    A, b, c, decay, before, now, step, u, grad_y, grad_h, grad_A, grad_u, grad_step, sum_B, sum_C
):
    """One state, one step back. Adds this step's share of dB and dC to two vectors; returns the running gradients."""
    grad_h = fma(grad_y, splat(load_scalar(c)), grad_h)
    store(sum_C, fma(grad_y, now, load(sum_C)))
    store(sum_B, fma(grad_h, u, load(sum_B)))
    grad_u = fma(grad_h, splat(load_scalar(b)), grad_u)
    grad_h = grad_h * load(decay)
    through_decay = grad_h * before
    grad_step = fma(through_decay, A, grad_step)
    grad_A = fma(through_decay, step, grad_A)
    return grad_h, grad_A, grad_u, grad_step


@inline
def _go_back(
    A: int,
    grad_h: int,
    grad_A: int,
    B: int,
    C: int,
    buffers: int,
    states: int,
    decays: int,
    sums: int,
    steps: int,
    padded: int,
) -> None:
    """Four states of 16 channels, from the last step of a chunk to its first."""
    A0, A1, A2, A3 = load(A), load(A + VECTOR_BYTES), load(A + 2 * VECTOR_BYTES), load(A + 3 * VECTOR_BYTES)
    g0, g1 = load(grad_h), load(grad_h + VECTOR_BYTES)
    g2, g3 = load(grad_h + 2 * VECTOR_BYTES), load(grad_h + 3 * VECTOR_BYTES)
    dA0, dA1 = load(grad_A), load(grad_A + VECTOR_BYTES)
    dA2, dA3 = load(grad_A + 2 * VECTOR_BYTES), load(grad_A + 3 * VECTOR_BYTES)
    last = states + steps * ROW
    h0, h1, h2, h3 = (
        load(last),
        load(last + VECTOR_BYTES),
        load(last + 2 * VECTOR_BYTES),
        load(last + 3 * VECTOR_BYTES),
    )
    for back in range(steps):
        t = steps - 1 - back
        at = buffers + t * VECTOR_BYTES
        step, u, dy = (
            load(at + DELTA * BUFFER_BYTES),
            load(at + U * BUFFER_BYTES),
            load(at + GRAD_Y * BUFFER_BYTES),
        )
        du, dstep = load(at + GRAD_U * BUFFER_BYTES), load(at + GRAD_DELTA * BUFFER_BYTES)
        b, c = B + t * padded * LANE_BYTES, C + t * padded * LANE_BYTES
        a, p = decays + t * ROW, states + t * ROW
        sB = sums + t * 2 * ROW
        sC = sB + ROW
        p0, p1, p2, p3 = (
            load(p),
            load(p + VECTOR_BYTES),
            load(p + 2 * VECTOR_BYTES),
            load(p + 3 * VECTOR_BYTES),
        )
        g0, dA0, du, dstep = _one_state_back(A0, b, c, a, p0, h0, step, u, dy, g0, dA0, du, dstep, sB, sC)
        g1, dA1, du, dstep = _one_state_back(
            A1,
            b + LANE_BYTES,
            c + LANE_BYTES,
            a + VECTOR_BYTES,
            p1,
            h1,
            step,
            u,
            dy,
            g1,
            dA1,
            du,
            dstep,
            sB + VECTOR_BYTES,
            sC + VECTOR_BYTES,
        )
        g2, dA2, du, dstep = _one_state_back(
            A2,
            b + 2 * LANE_BYTES,
            c + 2 * LANE_BYTES,
            a + 2 * VECTOR_BYTES,
            p2,
            h2,
            step,
            u,
            dy,
            g2,
            dA2,
            du,
            dstep,
            sB + 2 * VECTOR_BYTES,
            sC + 2 * VECTOR_BYTES,
        )
        g3, dA3, du, dstep = _one_state_back(
            A3,
            b + 3 * LANE_BYTES,
            c + 3 * LANE_BYTES,
            a + 3 * VECTOR_BYTES,
            p3,
            h3,
            step,
            u,
            dy,
            g3,
            dA3,
            du,
            dstep,
            sB + 3 * VECTOR_BYTES,
            sC + 3 * VECTOR_BYTES,
        )
        h0, h1, h2, h3 = p0, p1, p2, p3
        store(at + GRAD_U * BUFFER_BYTES, du)
        store(at + GRAD_DELTA * BUFFER_BYTES, dstep)
    store(grad_h, g0)
    store(grad_h + VECTOR_BYTES, g1)
    store(grad_h + 2 * VECTOR_BYTES, g2)
    store(grad_h + 3 * VECTOR_BYTES, g3)
    store(grad_A, dA0)
    store(grad_A + VECTOR_BYTES, dA1)
    store(grad_A + 2 * VECTOR_BYTES, dA2)
    store(grad_A + 3 * VECTOR_BYTES, dA3)


@inline
def _item(job: int, b: int, block: int, scratch: int) -> None:
    length, states, all_channels = (
        field(job, tiles.LENGTH),
        field(job, tiles.STATES),
        field(job, tiles.CHANNELS),
    )
    batch, first = field(job, tiles.BATCH), block * field(job, tiles.BLOCK)
    channels = min(field(job, tiles.BLOCK), all_channels - first)
    vectors, padded = (channels + LANES - 1) // LANES, (states + GROUP - 1) // GROUP * GROUP
    tile_bytes = padded * VECTOR_BYTES
    offset = first * LANE_BYTES

    A = scratch
    h = A + vectors * tile_bytes
    grad_A = h + vectors * tile_bytes
    grad_h = grad_A + vectors * tile_bytes
    D = grad_h + vectors * tile_bytes
    bias = D + vectors * VECTOR_BYTES
    grad_D = bias + vectors * VECTOR_BYTES
    grad_bias = grad_D + vectors * VECTOR_BYTES
    chunk_buffers = grad_bias + vectors * VECTOR_BYTES
    history = chunk_buffers + vectors * BUFFERS * BUFFER_BYTES
    decays = history + (CHUNK + 1) * ROW
    sums = decays + CHUNK * ROW
    B = sums + 2 * CHUNK * ROW
    C = B + CHUNK * padded * LANE_BYTES

    in_state = (b * all_channels + first) * states * LANE_BYTES
    grad_out = field(job, tiles.GRAD_STATE_OUT)
    load_tile(A, field(job, tiles.A) + offset * states, channels, states, vectors, padded)
    load_tile(grad_h, grad_out + (in_state if grad_out else 0), channels, states, vectors, padded)
    load_tile(grad_A, 0, channels, states, vectors, padded)
    load_tile(D, field(job, tiles.D) + offset, channels, 1, vectors, 1)
    load_tile(
        bias, field(job, tiles.BIAS) + (offset if field(job, tiles.BIAS) else 0), channels, 1, vectors, 1
    )
    load_tile(grad_D, 0, channels, 1, vectors, 1)
    load_tile(grad_bias, 0, channels, 1, vectors, 1)

    gated = field(job, tiles.Z) != 0
    x_in, delta_in = sequence(job, tiles.X, b) + offset, sequence(job, tiles.DELTA, b) + offset
    z_in, grad_in = sequence(job, tiles.Z, b) + offset, sequence(job, tiles.GRAD_Y, b) + offset
    x_out, delta_out = sequence(job, tiles.GRAD_X, b) + offset, sequence(job, tiles.GRAD_DELTA, b) + offset
    z_out = sequence(job, tiles.GRAD_Z, b) + offset
    x_step, delta_step, z_step = field(job, tiles.X + 2), field(job, tiles.DELTA + 2), field(job, tiles.Z + 2)
    grad_step, x_out_step = field(job, tiles.GRAD_Y + 2), field(job, tiles.GRAD_X + 2)
    delta_out_step, z_out_step = field(job, tiles.GRAD_DELTA + 2), field(job, tiles.GRAD_Z + 2)
    B_in, B_step = sequence(job, tiles.B, b), field(job, tiles.B + 2)
    C_in, C_step = sequence(job, tiles.C, b), field(job, tiles.C + 2)
    # One partial sum of dB and dC per block of channels: (blocks, batch, length, states).
    B_out, C_out = (
        sequence(job, tiles.GRAD_B, block * batch + b),
        sequence(job, tiles.GRAD_C, block * batch + b),
    )
    B_out_step, C_out_step = field(job, tiles.GRAD_B + 2), field(job, tiles.GRAD_C + 2)

    chunks = (length + CHUNK - 1) // CHUNK
    blocks = (all_channels + field(job, tiles.BLOCK) - 1) // field(job, tiles.BLOCK)
    block_bytes = field(job, tiles.BLOCK) // LANES * tile_bytes
    boundaries = field(job, tiles.BOUNDARIES) + (b * blocks + block) * chunks * block_bytes
    for reverse in range(chunks):
        chunk = chunks - 1 - reverse
        start = chunk * CHUNK
        steps = min(CHUNK, length - start)
        load_rows(B, B_in + start * B_step, B_step, steps, states, padded)
        load_rows(C, C_in + start * C_step, C_step, steps, states, padded)
        h = boundaries + chunk * block_bytes
        for v in range(vectors):
            count, at = channels - v * LANES, v * VECTOR_BYTES
            D_v, bias_v = load(D + at), load(bias + at)
            for i in range(steps):
                t = start + i
                buffer = chunk_buffers + v * BUFFERS * BUFFER_BYTES + i * VECTOR_BYTES
                step = softplus(load_first(delta_in + t * delta_step + at, count) + bias_v)
                x = load_first(x_in + t * x_step + at, count)
                dy = load_first(grad_in + t * grad_step + at, count)
                if gated:
                    gate = load_first(z_in + t * z_step + at, count)
                    dy = dy * (gate * sigmoid(gate))
                store(buffer + DELTA * BUFFER_BYTES, step)
                store(buffer + U * BUFFER_BYTES, step * x)
                store(buffer + GRAD_Y * BUFFER_BYTES, dy)
                store(buffer + GRAD_U * BUFFER_BYTES, splat(ZERO))
                store(buffer + GRAD_DELTA * BUFFER_BYTES, splat(ZERO))
                store(buffer + Y * BUFFER_BYTES, D_v * x)
        for n in range(0, padded, GROUP):
            for i in range(steps * 2 * GROUP):
                store(sums + i * VECTOR_BYTES, splat(ZERO))
            b_n, c_n = B + n * LANE_BYTES, C + n * LANE_BYTES
            for v in range(vectors):
                tile, buffers = v * tile_bytes + n * VECTOR_BYTES, chunk_buffers + v * BUFFERS * BUFFER_BYTES
                _advance_and_record(A + tile, h + tile, b_n, c_n, buffers, history, decays, steps, padded)
                _go_back(
                    A + tile,
                    grad_h + tile,
                    grad_A + tile,
                    b_n,
                    c_n,
                    buffers,
                    history,
                    decays,
                    sums,
                    steps,
                    padded,
                )
            for i in range(steps):
                for k in range(min(GROUP, states - n)):
                    sum_B = sums + i * 2 * ROW + k * VECTOR_BYTES
                    store_scalar(B_out + (start + i) * B_out_step + (n + k) * LANE_BYTES, total(load(sum_B)))
                    store_scalar(
                        C_out + (start + i) * C_out_step + (n + k) * LANE_BYTES, total(load(sum_B + ROW))
                    )
        for v in range(vectors):
            count, at = channels - v * LANES, v * VECTOR_BYTES
            D_v, bias_v, dD, dbias = load(D + at), load(bias + at), load(grad_D + at), load(grad_bias + at)
            for i in range(steps):
                t = start + i
                buffer = chunk_buffers + v * BUFFERS * BUFFER_BYTES + i * VECTOR_BYTES
                x = load_first(x_in + t * x_step + at, count)
                du, dy = load(buffer + GRAD_U * BUFFER_BYTES), load(buffer + GRAD_Y * BUFFER_BYTES)
                dstep = fma(du, x, load(buffer + GRAD_DELTA * BUFFER_BYTES))
                raw = load_first(delta_in + t * delta_step + at, count) + bias_v
                ddelta = dstep * sigmoid(raw)
                store_first(
                    x_out + t * x_out_step + at, fma(du, load(buffer + DELTA * BUFFER_BYTES), D_v * dy), count
                )
                store_first(delta_out + t * delta_out_step + at, ddelta, count)
                dbias = dbias + ddelta
                dD = fma(dy, x, dD)
                if gated:
                    gate = load_first(z_in + t * z_step + at, count)
                    open_ = sigmoid(gate)
                    slope = open_ * fma(gate, splat(ONE) - open_, splat(ONE))
                    dout = load_first(grad_in + t * grad_step + at, count)
                    store_first(
                        z_out + t * z_out_step + at, dout * load(buffer + Y * BUFFER_BYTES) * slope, count
                    )
            store(grad_D + at, dD)
            store(grad_bias + at, dbias)
    store_tile(field(job, tiles.GRAD_A) + in_state, grad_A, channels, states, padded)
    store_tile(field(job, tiles.GRAD_D) + (b * all_channels + first) * LANE_BYTES, grad_D, channels, 1, 1)
    store_tile(
        field(job, tiles.GRAD_BIAS) + (b * all_channels + first) * LANE_BYTES, grad_bias, channels, 1, 1
    )
    if field(job, tiles.GRAD_STATE) != 0:
        store_tile(field(job, tiles.GRAD_STATE) + in_state, grad_h, channels, states, padded)


@Worker
def backward(job: int) -> None:
    """Take (sequence, block of channels) items until none is left."""
    blocks = (field(job, tiles.CHANNELS) + field(job, tiles.BLOCK) - 1) // field(job, tiles.BLOCK)
    items = field(job, tiles.BATCH) * blocks
    mine = take_ticket(job + 8 * WORKERS_STARTED)
    scratch = field(job, tiles.SCRATCH) + mine * field(job, tiles.SCRATCH_BYTES)
    item = take_ticket(job + 8 * NEXT_ITEM)
    while item < items:
        _item(job, item // blocks, item % blocks, scratch)
        item = take_ticket(job + 8 * NEXT_ITEM)
