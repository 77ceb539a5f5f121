"""What the forward and the backward CPU kernel share: the job's fields, and tiles of 16 channels.

Legend: B batch, L time, D channels, N states per channel; V vectors of 16 channels in an item, P the states rounded
up to a multiple of 4 (the kernels advance four at once), T the steps of a chunk.

An item is one sequence and one block of its channels. Its state lives in a tile `VxPx16`: for each vector of
channels and each state, the 16 channels side by side, zero where there are no such channels or states. Gradients
and states that enter from outside are turned into tiles once per sequence.
"""

from __future__ import annotations

from retrieval_gap.kernels.parallel import FIRST_FREE_FIELD
from retrieval_gap.kernels.simd import (
    LANE_BYTES,
    LANES,
    VECTOR_BYTES,
    ZERO,
    inline,
    load_integer,
    load_scalar,
    splat,
    store,
    store_scalar,
)

# Steps between two stored states. With 16 the buffers of four states fit the 32 KiB first-level cache.
CHUNK = 16
GROUP = 4

# Sizes. BLOCK is the number of channels of an item; every worker has SCRATCH_BYTES of its own, from SCRATCH on.
BATCH, LENGTH, CHANNELS, STATES, BLOCK, SCRATCH, SCRATCH_BYTES = range(FIRST_FREE_FIELD, 9)
# Addresses of contiguous tensors; 0 where a tensor was not given or is not wanted.
A, D, BIAS, STATE, STATE_OUT, BOUNDARIES = range(9, 15)
GRAD_STATE_OUT, GRAD_STATE, GRAD_A, GRAD_D, GRAD_BIAS = range(15, 20)
# Tensors with axes (batch, time, ...): an address, then the bytes to the next sequence and to the next step.
X, DELTA, B, C, Z, Y, GRAD_Y, GRAD_X, GRAD_DELTA, GRAD_B, GRAD_C, GRAD_Z = range(20, 56, 3)
FIELDS = 56


@inline
def field(job: int, index: int) -> int:
    """One entry of the job."""
    return load_integer(job + 8 * index)


@inline
def sequence(job: int, view: int, b: int) -> int:
    """Where sequence `b` of a view begins; 0 if the tensor was not given."""
    return field(job, view) + b * field(job, view + 1)


@inline
def load_tile(tile: int, source: int, channels: int, states: int, vectors: int, padded: int) -> None:
    """Turn `source`, a contiguous (channels, states), or zeros if it is 0, into a tile."""
    for i in range(vectors * padded):
        store(tile + i * VECTOR_BYTES, splat(ZERO))
    if source != 0:
        for c in range(channels):
            row = tile + (c // LANES) * padded * VECTOR_BYTES + (c % LANES) * LANE_BYTES
            for n in range(states):
                store_scalar(row + n * VECTOR_BYTES, load_scalar(source + (c * states + n) * LANE_BYTES))


@inline
def store_tile(target: int, tile: int, channels: int, states: int, padded: int) -> None:
    """The way back: a tile to a contiguous (channels, states)."""
    for c in range(channels):
        row = tile + (c // LANES) * padded * VECTOR_BYTES + (c % LANES) * LANE_BYTES
        for n in range(states):
            store_scalar(target + (c * states + n) * LANE_BYTES, load_scalar(row + n * VECTOR_BYTES))


@inline
def load_rows(rows: int, source: int, step_bytes: int, steps: int, states: int, padded: int) -> None:
    """Copy `steps` rows of B or C to (steps, padded), zero past the last state."""
    for t in range(steps):
        for n in range(states):
            store_scalar(
                rows + (t * padded + n) * LANE_BYTES, load_scalar(source + t * step_bytes + n * LANE_BYTES)
            )
        for n in range(states, padded):
            store_scalar(rows + (t * padded + n) * LANE_BYTES, ZERO)
