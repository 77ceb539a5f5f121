"""Forward rotary attention on CPU: 16 queries in a vector, scores in scratch memory, two passes of multiply-adds.

Legend: B batch, L time, H heads, E head width.
"""

from __future__ import annotations

import numpy as np

from retrieval_gap.kernels.cpu.elementary import exp2_of_product
from retrieval_gap.kernels.cpu.jobs import Worker, field, next_item, own_scratch
from retrieval_gap.kernels.cpu.lanes import (
    FLOAT,
    LANES,
    ONE,
    VECTOR,
    ZERO,
    compiled,
    load,
    load_scalar,
    splat,
    store,
    store_scalar,
    where_less,
)
from retrieval_gap.kernels.rotary_attention import cpu_tiles as tiles
from retrieval_gap.kernels.rotary_attention.cpu_tiles import (
    add_weighted_rows,
    at,
    clear_tile,
    load_tile,
    products,
    store_tile,
    turn_rows,
)

# A score that no exponential survives, and that no sum of two turns into an infinity.
NEVER = np.float32(-1e30)


def scratch_bytes(length: int, width: int) -> int:
    """What a worker needs: turned queries and keys, scores of 16 queries, two tiles."""
    return 2 * length * width * FLOAT + length * VECTOR + 2 * width * VECTOR + 2 * VECTOR


@compiled
def hide_later_keys(scores: int, first: int, count: int, lane_numbers: int) -> None:
    """Of the scores of queries first..first+15, those with keys that come after the query."""
    lane = load(lane_numbers)
    for j in range(count):
        later = splat(np.float32(j))
        score = scores + (first + j) * VECTOR
        store(score, where_less(lane, later, splat(NEVER), load(score)))


@compiled
def _softmax(scores: int, count: int, statistics: int) -> None:
    """Scores to weights, not yet divided by their sum; the largest score and one over the sum go to `statistics`."""
    largest = load(scores)
    for j in range(1, count):
        score = load(scores + j * VECTOR)
        largest = where_less(largest, score, score, largest)
    total = splat(ZERO)
    for j in range(count):
        weight = exp2_of_product(load(scores + j * VECTOR) - largest, splat(ONE))
        store(scores + j * VECTOR, weight)
        total = total + weight
    store(statistics, largest)
    store(statistics + VECTOR, splat(ONE) / total)


@compiled
def _attend(job: int, b: int, h: int, scratch: int) -> None:
    """One head of one sequence."""
    length, width = field(job, tiles.LENGTH), field(job, tiles.WIDTH)
    row = width * FLOAT
    q, k = scratch, scratch + length * row
    scores = k + length * row
    tile, sums = scores + length * VECTOR, scores + length * VECTOR + width * VECTOR
    statistics = sums + width * VECTOR
    stride, rope = field(job, tiles.QKV + 2), field(job, tiles.ROPE)
    scale = load_scalar(field(job, tiles.SCALE))
    turn_rows(q, row, at(job, tiles.QKV, b, 0, h), stride, rope, length, width, scale, ONE)
    turn_rows(k, row, at(job, tiles.QKV, b, 1, h), stride, rope, length, width, ONE, ONE)
    v, y = at(job, tiles.QKV, b, 2, h), at(job, tiles.Y, b, 0, h)
    kept = (b * field(job, tiles.HEADS) + h) * length * FLOAT
    for first in range(0, length, LANES):
        queries = min(LANES, length - first)
        keys = first + queries
        load_tile(tile, q + first * row, row, queries, width)
        products(scores, tile, k, row, keys, width)
        hide_later_keys(scores, first, queries, field(job, tiles.LANE_NUMBERS))
        _softmax(scores, keys, statistics)
        clear_tile(sums, width)
        add_weighted_rows(sums, scores, v, stride, keys, width)
        for e in range(width):
            store(sums + e * VECTOR, load(sums + e * VECTOR) * load(statistics + VECTOR))
        store_tile(y + first * field(job, tiles.Y + 2), field(job, tiles.Y + 2), sums, queries, width)
        for i in range(queries):
            here = kept + (first + i) * FLOAT
            store_scalar(field(job, tiles.LARGEST) + here, load_scalar(statistics + i * FLOAT))
            store_scalar(field(job, tiles.INVERSE_SUM) + here, load_scalar(statistics + VECTOR + i * FLOAT))


@Worker
def forward(job: int) -> None:
    """Take (sequence, head) items until none is left."""
    scratch, heads = own_scratch(job), field(job, tiles.HEADS)
    item = next_item(job)
    while item < field(job, tiles.BATCH) * heads:
        _attend(job, item // heads, item % heads, scratch)
        item = next_item(job)
