"""Forward rotary attention on CPU: 16 queries in a vector, scores in scratch memory, two passes of multiply-adds.

Legend: B batch, L time, H heads, E head width.
"""

from __future__ import annotations

import numpy as np

from retrieval_gap.kernels.cpu import FLOAT, LANES, VECTOR
from retrieval_gap.kernels.cpu.elementary import exp2_of_product
from retrieval_gap.kernels.cpu.jobs import field
from retrieval_gap.kernels.cpu.lanes import ONE, ZERO, compiled, splat, where_less
from retrieval_gap.kernels.cpu.memory import load, load_scalar, store
from retrieval_gap.kernels.residual import cpu_tiles as tiles
from retrieval_gap.kernels.residual.cpu_tiles import (
    add_weighted_rows,
    at,
    clear_tile,
    load_tile,
    products,
    store_tile,
    turn_rows,
    turn_tile,
)

# A score that no exponential survives, and that no sum of two turns into an infinity.
NEVER = np.float32(-1e30)


def scratch_bytes(length: int, width: int) -> int:
    """What a worker needs: turned keys, scores of 16 queries, two tiles."""
    return length * width * FLOAT + length * VECTOR + 2 * width * VECTOR


@compiled
def hide_later_keys(scores: int, first: int, count: int, lane_numbers: int) -> None:
    """Of the scores of queries first..first+15, those with keys that come after the query."""
    lane = load(lane_numbers)
    for j in range(count):
        later = splat(np.float32(j))
        score = scores + (first + j) * VECTOR
        store(score, where_less(lane, later, splat(NEVER), load(score)))


@compiled
def _softmax(scores: int, count: int, largest_at: int, inverse_at: int) -> None:
    """Scores to weights, not yet divided by their sum; the largest score and one over the sum are written too."""
    largest = load(scores)
    for j in range(1, count):
        score = load(scores + j * VECTOR)
        largest = where_less(largest, score, score, largest)
    total = splat(ZERO)
    for j in range(count):
        weight = exp2_of_product(load(scores + j * VECTOR) - largest, splat(ONE))
        store(scores + j * VECTOR, weight)
        total = total + weight
    store(largest_at, largest)
    store(inverse_at, splat(ONE) / total)


@compiled
def attend(job: int, b: int, h: int, k: int, scratch: int) -> None:
    """One head of one sequence; its turned keys are left at `k`, row by row."""
    length, width, padded = field(job, tiles.LENGTH), field(job, tiles.WIDTH), field(job, tiles.PADDED)
    row, rope, rope_stride = width * FLOAT, field(job, tiles.ROPE), padded * FLOAT
    scores = scratch
    tile, sums = scores + length * VECTOR, scores + length * VECTOR + width * VECTOR
    stride, y_stride = field(job, tiles.QKV + 2), field(job, tiles.Y + 2)
    q, v, y = at(job, tiles.QKV, b, 0, h), at(job, tiles.QKV, b, 2, h), at(job, tiles.Y, b, 0, h)
    turn_rows(k, at(job, tiles.QKV, b, 1, h), stride, rope, rope_stride, tile, length, width, ONE)
    kept = (b * field(job, tiles.HEADS) + h) * padded * FLOAT
    for first in range(0, length, LANES):
        queries = min(LANES, length - first)
        keys, here = first + queries, kept + first * FLOAT
        inverse_sum = field(job, tiles.INVERSE_SUM) + here
        load_tile(tile, q + first * stride, stride, queries, width)
        turn_tile(tile, rope + first * FLOAT, rope_stride, width, load_scalar(field(job, tiles.SCALE)), ONE)
        products(scores, tile, k, row, keys, width)
        hide_later_keys(scores, first, queries, field(job, tiles.LANE_NUMBERS))
        _softmax(scores, keys, field(job, tiles.LARGEST) + here, inverse_sum)
        clear_tile(sums, width)
        add_weighted_rows(sums, scores, v, stride, keys, width)
        for e in range(width):
            store(sums + e * VECTOR, load(sums + e * VECTOR) * load(inverse_sum))
        store_tile(y + first * y_stride, y_stride, sums, queries, width)
