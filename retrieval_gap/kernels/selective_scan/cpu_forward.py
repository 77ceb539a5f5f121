"""Forward selective scan on CPU: numba, 16 channels in a vector, four states at once in registers.

Legend: B batch, L time, D channels, N states per channel; V vectors of 16 channels in an item, P the states rounded
up to a multiple of 4, T the steps of a chunk.

Time runs in chunks of T steps so that everything a chunk touches stays in the first-level cache. When gradients will
be needed the state before every chunk is kept (1/T of all states): the backward pass starts from it.
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
    VECTOR_BYTES,
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
    take_ticket,
)


def scratch_bytes(vectors: int, padded: int) -> int:
    """What one worker needs: tiles of A and the state, D and bias, rows of B and C, and delta, delta x and y of a chunk."""
    return VECTOR_BYTES * (2 * vectors * padded + 2 * vectors + 3 * CHUNK) + 2 * LANE_BYTES * CHUNK * padded


@inline
def _advance(A: int, h: int, B: int, C: int, delta: int, u: int, y: int, steps: int, padded: int) -> None:
    """Advance four states of 16 channels by `steps`; add their part of <h, C> to y."""
    A0, A1, A2, A3 = load(A), load(A + VECTOR_BYTES), load(A + 2 * VECTOR_BYTES), load(A + 3 * VECTOR_BYTES)
    h0, h1, h2, h3 = load(h), load(h + VECTOR_BYTES), load(h + 2 * VECTOR_BYTES), load(h + 3 * VECTOR_BYTES)
    for t in range(steps):
        at = t * VECTOR_BYTES
        step, input_, total = load(delta + at), load(u + at), load(y + at)
        b, c = B + t * padded * LANE_BYTES, C + t * padded * LANE_BYTES
        h0 = fma(exp(step * A0), h0, input_ * splat(load_scalar(b)))
        h1 = fma(exp(step * A1), h1, input_ * splat(load_scalar(b + LANE_BYTES)))
        h2 = fma(exp(step * A2), h2, input_ * splat(load_scalar(b + 2 * LANE_BYTES)))
        h3 = fma(exp(step * A3), h3, input_ * splat(load_scalar(b + 3 * LANE_BYTES)))
        total = fma(h0, splat(load_scalar(c)), total)
        total = fma(h1, splat(load_scalar(c + LANE_BYTES)), total)
        total = fma(h2, splat(load_scalar(c + 2 * LANE_BYTES)), total)
        total = fma(h3, splat(load_scalar(c + 3 * LANE_BYTES)), total)
        store(y + at, total)
    store(h, h0)
    store(h + VECTOR_BYTES, h1)
    store(h + 2 * VECTOR_BYTES, h2)
    store(h + 3 * VECTOR_BYTES, h3)


@inline
def _item(job: int, b: int, block: int, scratch: int) -> None:
    length, states = field(job, tiles.LENGTH), field(job, tiles.STATES)
    first = block * field(job, tiles.BLOCK)
    channels = min(field(job, tiles.BLOCK), field(job, tiles.CHANNELS) - first)
    vectors, padded = (channels + LANES - 1) // LANES, (states + GROUP - 1) // GROUP * GROUP
    tile_bytes = padded * VECTOR_BYTES
    offset = first * LANE_BYTES

    A = scratch
    h = A + vectors * tile_bytes
    D = h + vectors * tile_bytes
    bias = D + vectors * VECTOR_BYTES
    delta = bias + vectors * VECTOR_BYTES
    u = delta + CHUNK * VECTOR_BYTES
    y = u + CHUNK * VECTOR_BYTES
    B = y + CHUNK * VECTOR_BYTES
    C = B + CHUNK * padded * LANE_BYTES

    load_tile(A, field(job, tiles.A) + offset * states, channels, states, vectors, padded)
    state = field(job, tiles.STATE)
    if state != 0:
        state += (b * field(job, tiles.CHANNELS) + first) * states * LANE_BYTES
    load_tile(h, state, channels, states, vectors, padded)
    load_tile(D, field(job, tiles.D) + offset, channels, 1, vectors, 1)
    load_tile(
        bias, field(job, tiles.BIAS) + (offset if field(job, tiles.BIAS) else 0), channels, 1, vectors, 1
    )

    x_in, delta_in = sequence(job, tiles.X, b) + offset, sequence(job, tiles.DELTA, b) + offset
    z_in, y_out = sequence(job, tiles.Z, b) + offset, sequence(job, tiles.Y, b) + offset
    x_step, delta_step = field(job, tiles.X + 2), field(job, tiles.DELTA + 2)
    z_step, y_step, gated = field(job, tiles.Z + 2), field(job, tiles.Y + 2), field(job, tiles.Z) != 0
    B_in, B_step = sequence(job, tiles.B, b), field(job, tiles.B + 2)
    C_in, C_step = sequence(job, tiles.C, b), field(job, tiles.C + 2)

    boundary = field(job, tiles.BOUNDARIES)
    keep = boundary != 0
    chunks = (length + CHUNK - 1) // CHUNK
    blocks = (field(job, tiles.CHANNELS) + field(job, tiles.BLOCK) - 1) // field(job, tiles.BLOCK)
    block_bytes = field(job, tiles.BLOCK) // LANES * tile_bytes
    boundary += (b * blocks + block) * chunks * block_bytes
    for chunk in range(chunks):
        start = chunk * CHUNK
        steps = min(CHUNK, length - start)
        if keep:
            for i in range(vectors * padded):
                store(boundary + chunk * block_bytes + i * VECTOR_BYTES, load(h + i * VECTOR_BYTES))
        load_rows(B, B_in + start * B_step, B_step, steps, states, padded)
        load_rows(C, C_in + start * C_step, C_step, steps, states, padded)
        for v in range(vectors):
            count, at = channels - v * LANES, v * VECTOR_BYTES
            D_v, bias_v = load(D + at), load(bias + at)
            for t in range(steps):
                step = softplus(load_first(delta_in + (start + t) * delta_step + at, count) + bias_v)
                x = load_first(x_in + (start + t) * x_step + at, count)
                store(delta + t * VECTOR_BYTES, step)
                store(u + t * VECTOR_BYTES, step * x)
                store(y + t * VECTOR_BYTES, D_v * x)
            for n in range(0, padded, GROUP):
                tile = v * tile_bytes + n * VECTOR_BYTES
                _advance(
                    A + tile, h + tile, B + n * LANE_BYTES, C + n * LANE_BYTES, delta, u, y, steps, padded
                )
            for t in range(steps):
                out = load(y + t * VECTOR_BYTES)
                if gated:
                    gate = load_first(z_in + (start + t) * z_step + at, count)
                    out = out * (gate * sigmoid(gate))
                store_first(y_out + (start + t) * y_step + at, out, count)
    state_out = field(job, tiles.STATE_OUT) + (b * field(job, tiles.CHANNELS) + first) * states * LANE_BYTES
    store_tile(state_out, h, channels, states, padded)


@Worker
def forward(job: int) -> None:
    """Take (sequence, block of channels) items until none is left."""
    blocks = (field(job, tiles.CHANNELS) + field(job, tiles.BLOCK) - 1) // field(job, tiles.BLOCK)
    items = field(job, tiles.BATCH) * blocks
    mine = take_ticket(job + 8 * WORKERS_STARTED)
    scratch = field(job, tiles.SCRATCH) + mine * field(job, tiles.SCRATCH_BYTES)
    item = take_ticket(job + 8 * NEXT_ITEM)
    while item < items:
        _item(job, item // blocks, item % blocks, scratch)
        item = take_ticket(job + 8 * NEXT_ITEM)
