"""What the forward and the backward attention kernel share: the job's fields, and the shapes data are kept in.

Legend: B batch, L time, H heads, E head width.

An item is one head of one sequence. Two shapes of data: *rows*, a position's E numbers side by side; and *tiles*, 16
positions: for each of the E dimensions the 16 positions side by side. A score of 16 positions with one other is then
E multiply-adds of a tile with broadcast numbers of a row, and no sum ever crosses a vector's lanes.
"""

from __future__ import annotations

from retrieval_gap.kernels.cpu import FLOAT, LANES, VECTOR
from retrieval_gap.kernels.cpu.jobs import FIRST_FIELD, field
from retrieval_gap.kernels.cpu.lanes import ONE, ZERO, compiled, splat
from retrieval_gap.kernels.cpu.memory import load, load_scalar, store, store_scalar
from retrieval_gap.kernels.cpu.transpose import COLUMNS, lanes_to_rows, rows_to_lanes
from retrieval_gap.kernels.residual.cpu_blocks import (
    add_rows_times_block,
    add_vectors_times_rows,
    rows_times_block,
)

# Dimensions worked on at once: their vectors stay in registers. E is a multiple of it.
GROUP = LANES

# Sizes; PADDED is L rounded up to whole vectors.  SCALE: the address of log2(e) / sqrt(E), 1 / sqrt(E), ln(2).
# ROPE: that of a contiguous (E, PADDED), the cosines of E/2 pairs of dimensions, then their sines.
BATCH, LENGTH, HEADS, WIDTH, PADDED, SCALE, ROPE, LANE_NUMBERS = range(FIRST_FIELD, FIRST_FIELD + 8)
# (B, H, PADDED) tensors: the largest score of each query, and one over its sum of exponentials.
LARGEST, INVERSE_SUM = LANE_NUMBERS + 1, LANE_NUMBERS + 2
# Tensors with axes (batch, time, ...): an address, then the bytes to the next sequence and to the next step.
QKV, Y, GRAD_Y, GRAD_QKV = range(INVERSE_SUM + 1, INVERSE_SUM + 13, 3)
FIELDS = GRAD_QKV + 3


@compiled
def at(job: int, view: int, b: int, part: int, h: int) -> int:
    """Where head h of sequence b begins: in part 0, 1, 2 (queries, keys, values) of `view`."""
    column = (part * field(job, HEADS) + h) * field(job, WIDTH)
    return field(job, view) + b * field(job, view + 1) + column * FLOAT


@compiled
def head_in_cache(job: int, cache: int, b: int, h: int) -> int:
    """Where the rows of head h of sequence b begin in a tensor with axes (B, H, ...), of which the job's field `cache`
    is the address and the next two are the bytes to the next sequence and head."""
    return field(job, cache) + b * field(job, cache + 1) + h * field(job, cache + 2)


@compiled
def load_tile(tile: int, rows: int, stride: int, count: int, width: int) -> None:
    """The first `count` <= 16 rows as a tile; zeros past them."""
    if count == LANES:
        for e in range(0, width, COLUMNS):
            rows_to_lanes(tile + e * VECTOR, rows + e * FLOAT, stride)
    else:
        for e in range(width):
            store(tile + e * VECTOR, splat(ZERO))
            for i in range(count):
                store_scalar(tile + e * VECTOR + i * FLOAT, load_scalar(rows + i * stride + e * FLOAT))


@compiled
def store_tile(rows: int, stride: int, tile: int, count: int, width: int) -> None:
    """The way back: the first `count` positions of a tile to rows."""
    if count == LANES:
        for e in range(0, width, COLUMNS):
            lanes_to_rows(rows + e * FLOAT, stride, tile + e * VECTOR)
    else:
        for i in range(count):
            for e in range(width):
                store_scalar(rows + i * stride + e * FLOAT, load_scalar(tile + e * VECTOR + i * FLOAT))


@compiled
def turn_tile(tile: int, rope: int, rope_stride: int, width: int, scale: float, back: float) -> None:
    """A tile turned by its positions' angles (back = 1) or by the opposite ones (back = -1), and scaled.

    rope: for each pair of dimensions a row of cosines by position, then as many rows of sines.
    """
    half = width // 2
    for e in range(half):
        cos = load(rope + e * rope_stride) * splat(scale)
        sin = load(rope + (half + e) * rope_stride) * splat(scale * back)
        first, second = load(tile + e * VECTOR), load(tile + (half + e) * VECTOR)
        store(tile + e * VECTOR, first * cos - second * sin)
        store(tile + (half + e) * VECTOR, second * cos + first * sin)


@compiled
def turn_rows(
    target: int, source: int, stride: int, rope: int, rope_stride: int, tile: int, length: int, width: int, scale: float
) -> None:
    """Rows of a head, turned by their positions' angles and scaled, to contiguous rows; `tile` is scratch memory."""
    for first in range(0, length, LANES):
        count = min(LANES, length - first)
        load_tile(tile, source + first * stride, stride, count, width)
        turn_tile(tile, rope + first * FLOAT, rope_stride, width, scale, ONE)
        store_tile(target + first * width * FLOAT, width * FLOAT, tile, count, width)


@compiled
def products(target: int, tile: int, row: int, stride: int, count: int, width: int) -> None:
    """For each of `count` rows, its inner products with the 16 positions of a tile: a vector a row."""
    rows_times_block(target, VECTOR, tile, VECTOR, row, stride, count)
    for e in range(GROUP, width, GROUP):
        add_rows_times_block(target, VECTOR, tile + e * VECTOR, VECTOR, row + e * FLOAT, stride, count)


@compiled
def add_weighted_rows(sums: int, weights: int, row: int, stride: int, count: int, width: int) -> None:
    """A tile of sums += for each row its numbers times the 16 weights of its vector."""
    for e in range(0, width, GROUP):
        add_vectors_times_rows(sums + e * VECTOR, weights, row + e * FLOAT, stride, count)


@compiled
def add_weighted_block(target: int, stride: int, block: int, weights: int, count: int, width: int) -> None:
    """For each of `count` vectors of 16 weights: a row of `target` += the 16 dense rows of a block, so weighted."""
    for e in range(0, width, GROUP):
        here = e * FLOAT
        add_rows_times_block(target + here, stride, block + here, width * FLOAT, weights, VECTOR, count)


@compiled
def clear_tile(tile: int, width: int) -> None:
    """Zeros."""
    for e in range(width):
        store(tile + e * VECTOR, splat(ZERO))


@compiled
def clear_rows(row: int, stride: int, count: int, width: int) -> None:
    """Zeros in `count` rows."""
    for j in range(count):
        for e in range(0, width, LANES):
            store(row + j * stride + e * FLOAT, splat(ZERO))
