"""Shared by the forward and the backward CPU kernel: the job's fields, tiles, and groups of four vectors.

Legend: B batch, L time, D channels, a multiple of 16, N states per channel, a multiple of 4.

An item is one sequence and one block of its channels. Its state is kept in a tile: for each vector of 16 channels and
each state, the 16 channels side by side. The kernels advance four states together. Time runs in chunks: all that a
chunk touches for four states stays in the first-level cache.
"""

from __future__ import annotations

from typing import Any

from retrieval_gap.kernels.cpu import FLOAT, LANES, VECTOR
from retrieval_gap.kernels.cpu.jobs import FIRST_FIELD, field
from retrieval_gap.kernels.cpu.lanes import compiled, inline, splat
from retrieval_gap.kernels.cpu.memory import load, load_scalar, store
from retrieval_gap.kernels.cpu.rows import clear, copy

# Steps between two states that the forward pass keeps for the backward pass. 16 is the fastest of 8, 16, 32, 64.
CHUNK = 16
GROUP = 4

# Sizes; BLOCK is the number of channels of an item.
BATCH, LENGTH, CHANNELS, STATES, BLOCK = range(FIRST_FIELD, FIRST_FIELD + 5)
# Addresses of contiguous tensors; 0 where a tensor was not given or is not wanted. States are (B, N, D). A is (N, D),
# times log2(e): the decay exp(delta A) is then a power of two, which saves an instruction.
A, D, BIAS, STATE, STATE_OUT, BOUNDARIES = range(BLOCK + 1, BLOCK + 7)
GRAD_STATE_OUT, GRAD_STATE, GRAD_A, GRAD_D, GRAD_BIAS = range(BOUNDARIES + 1, BOUNDARIES + 6)
# Tensors with axes (batch, time, ...): an address, then the bytes to the next sequence and to the next step.
X, DELTA, B, C, Z, Y = range(GRAD_BIAS + 1, GRAD_BIAS + 19, 3)
GRAD_Y, GRAD_X, GRAD_DELTA, GRAD_B, GRAD_C, GRAD_Z = range(Y + 3, Y + 21, 3)
FIELDS = GRAD_Z + 3


@compiled
def at(job: int, view: int, b: int, t: int, first: int) -> int:
    """The address of channel `first` of step t of sequence b."""
    return field(job, view) + b * field(job, view + 1) + t * field(job, view + 2) + first * FLOAT


@compiled
def blocks_of(job: int) -> int:
    """The number of blocks of channels."""
    return (field(job, CHANNELS) + field(job, BLOCK) - 1) // field(job, BLOCK)


@compiled
def vectors_of(job: int, block: int) -> int:
    """The number of vectors that hold a block's channels: the last block may be smaller."""
    return min(field(job, BLOCK), field(job, CHANNELS) - block * field(job, BLOCK)) // LANES


@compiled
def boundary_of(job: int, b: int, block: int, chunk: int) -> int:
    """The address where the state before a chunk is kept, as a tile."""
    chunks = (field(job, LENGTH) + CHUNK - 1) // CHUNK
    place = (b * blocks_of(job) + block) * chunks + chunk
    return field(job, BOUNDARIES) + place * field(job, BLOCK) * field(job, STATES) * FLOAT


@compiled
def load_channels(target: int, source: int, vectors: int) -> None:
    """Copy one number per channel; zeros if `source` is 0."""
    if source != 0:
        copy(target, source, vectors * LANES)
    else:
        clear(target, vectors * LANES)


@compiled
def flat_at(job: int, index: int, position: int) -> int:
    """The address of an entry of a contiguous tensor; 0 if the tensor was not given."""
    address = field(job, index)
    return address + position * FLOAT if address != 0 else 0


@compiled
def load_tile(tile: int, source: int, stride: int, vectors: int, states: int) -> None:
    """Fill a tile from rows of channels, one row per state; zeros if `source` is 0."""
    if source == 0:
        clear(tile, vectors * LANES * states)
    else:
        for v in range(vectors):
            for n in range(states):
                store(tile + (v * states + n) * VECTOR, load(source + n * stride + v * VECTOR))


@compiled
def store_tile(target: int, stride: int, tile: int, vectors: int, states: int) -> None:
    """The inverse of `load_tile`; does nothing if `target` is 0."""
    if target != 0:
        for v in range(vectors):
            for n in range(states):
                store(target + n * stride + v * VECTOR, load(tile + (v * states + n) * VECTOR))


@inline
def load_group(address: int) -> Any:
    """Load four consecutive vectors."""
    return load(address), load(address + VECTOR), load(address + 2 * VECTOR), load(address + 3 * VECTOR)


@inline
def store_group(address: int, a: Any, b: Any, c: Any, d: Any) -> None:
    """Store four consecutive vectors."""
    store(address, a)
    store(address + VECTOR, b)
    store(address + 2 * VECTOR, c)
    store(address + 3 * VECTOR, d)


@inline
def splat_group(address: int) -> Any:
    """Load four consecutive floats, each into every lane of a vector."""
    a, b = splat(load_scalar(address)), splat(load_scalar(address + FLOAT))
    return a, b, splat(load_scalar(address + 2 * FLOAT)), splat(load_scalar(address + 3 * FLOAT))
