"""Backward rotary attention on CPU: weights are computed again, first for 16 queries at a time, then for 16 keys.

Legend: B batch, L time, H heads, E head width.

With weights p, grad_p = <grad_y, v> and delta = <grad_y, y>, a score's gradient is p (grad_p - delta) (Dao et al. 2022,
arXiv 2205.14135, appendix B). Queries in a vector give dq, keys in a vector dk and dv: every sum is in one place and
one order, so two runs give equal bits.
"""

from __future__ import annotations

from retrieval_gap.kernels.cpu.elementary import exp2_of_product
from retrieval_gap.kernels.cpu.jobs import Worker, field, next_item, own_scratch
from retrieval_gap.kernels.cpu.lanes import (
    FLOAT,
    LANES,
    ONE,
    VECTOR,
    ZERO,
    compiled,
    fma,
    load,
    load_scalar,
    splat,
    store,
    where_less,
)
from retrieval_gap.kernels.rotary_attention import cpu_tiles as tiles
from retrieval_gap.kernels.rotary_attention.cpu_forward import hide_later_keys
from retrieval_gap.kernels.rotary_attention.cpu_tiles import (
    add_weighted_rows,
    at,
    clear_tile,
    load_tile,
    products,
    store_tile,
    turn_rows,
    turn_tile,
)


def scratch_bytes(length: int, width: int) -> int:
    """What a worker needs: turned queries and keys; two vectors a position; four tiles; delta."""
    rows, vectors = 2 * length * width * FLOAT, 2 * length * VECTOR
    return rows + vectors + 4 * width * VECTOR + (length + LANES) * FLOAT


@compiled
def _delta(target: int, y: int, grad_y: int, width: int) -> None:
    """<grad_y, y> of 16 positions, from two tiles."""
    total = splat(ZERO)
    for e in range(width):
        total = fma(load(y + e * VECTOR), load(grad_y + e * VECTOR), total)
    store(target, total)


@compiled
def _score_gradients_of_queries(
    scores: int, grads: int, count: int, largest_at: int, inverse_at: int, delta_at: int
) -> None:
    """For 16 queries in the lanes: scores and <grad_y, v> to the gradients of scores, in place of the scores."""
    largest, inverse, delta = load(largest_at), load(inverse_at), load(delta_at)
    for j in range(count):
        here = j * VECTOR
        weight = exp2_of_product(load(scores + here) - largest, splat(ONE)) * inverse
        store(scores + here, weight * (load(grads + here) - delta))


@compiled
def _weights_and_gradients_of_keys(
    scores: int, grads: int, first: int, count: int, largest: int, inverse: int, delta: int, lane_numbers: int
) -> None:
    """For 16 keys in the lanes and `count` queries from `first` on: scores to weights, <grad_y, v> to gradients."""
    lane = load(lane_numbers)
    for i in range(count):
        here, query = i * VECTOR, (first + i) * FLOAT
        shifted = load(scores + here) - splat(load_scalar(largest + query))
        weight = exp2_of_product(shifted, splat(ONE)) * splat(load_scalar(inverse + query))
        if i < LANES:  # among these queries are some that come before some of the keys
            from_here = where_less(splat(_number(lane_numbers, i)), lane, splat(ZERO), splat(ONE))
            weight = where_less(splat(ZERO), from_here, weight, splat(ZERO))
        store(scores + here, weight)
        store(grads + here, weight * (load(grads + here) - splat(load_scalar(delta + query))))


@compiled
def _number(lane_numbers: int, i: int) -> float:
    return load_scalar(lane_numbers + i * FLOAT)


@compiled
def _attend_back(job: int, b: int, h: int, scratch: int) -> None:
    """One head of one sequence."""
    length, width, padded = field(job, tiles.LENGTH), field(job, tiles.WIDTH), field(job, tiles.PADDED)
    row, rope, rope_stride = width * FLOAT, field(job, tiles.ROPE), padded * FLOAT
    q, k = scratch, scratch + length * row
    scores = k + length * row
    grads = scores + length * VECTOR
    tile = grads + length * VECTOR
    other, sums, more = tile + width * VECTOR, tile + 2 * width * VECTOR, tile + 3 * width * VECTOR
    delta = tile + 4 * width * VECTOR
    kept = (b * field(job, tiles.HEADS) + h) * padded * FLOAT
    largest, inverse = field(job, tiles.LARGEST) + kept, field(job, tiles.INVERSE_SUM) + kept
    stride, numbers, scales = field(job, tiles.QKV + 2), field(job, tiles.LANE_NUMBERS), field(job, tiles.SCALE)
    grad_y, grad_stride = at(job, tiles.GRAD_Y, b, 0, h), field(job, tiles.GRAD_Y + 2)
    y, y_stride = at(job, tiles.Y, b, 0, h), field(job, tiles.Y + 2)
    out, out_stride = at(job, tiles.GRAD_QKV, b, 0, h), field(job, tiles.GRAD_QKV + 2)
    to_k, to_v = at(job, tiles.GRAD_QKV, b, 1, h), at(job, tiles.GRAD_QKV, b, 2, h)
    v = at(job, tiles.QKV, b, 2, h)
    turn_rows(q, at(job, tiles.QKV, b, 0, h), stride, rope, rope_stride, tile, length, width, load_scalar(scales))
    turn_rows(k, at(job, tiles.QKV, b, 1, h), stride, rope, rope_stride, tile, length, width, ONE)

    for first in range(0, length, LANES):
        queries, here = min(LANES, length - first), first * FLOAT
        keys = first + queries
        load_tile(other, grad_y + first * grad_stride, grad_stride, queries, width)
        load_tile(tile, y + first * y_stride, y_stride, queries, width)
        _delta(delta + here, tile, other, width)
        load_tile(tile, q + first * row, row, queries, width)
        products(scores, tile, k, row, keys, width)
        products(grads, other, v, stride, keys, width)
        hide_later_keys(scores, first, queries, numbers)
        _score_gradients_of_queries(scores, grads, keys, largest + here, inverse + here, delta + here)
        clear_tile(sums, width)
        add_weighted_rows(sums, scores, k, row, keys, width)
        turn_tile(sums, rope + here, rope_stride, width, load_scalar(scales + FLOAT), -ONE)
        store_tile(out + first * out_stride, out_stride, sums, queries, width)

    for first in range(0, length, LANES):
        keys, queries = min(LANES, length - first), length - first
        load_tile(tile, k + first * row, row, keys, width)
        load_tile(other, v + first * stride, stride, keys, width)
        products(scores, tile, q + first * row, row, queries, width)
        products(grads, other, grad_y + first * grad_stride, grad_stride, queries, width)
        _weights_and_gradients_of_keys(scores, grads, first, queries, largest, inverse, delta, numbers)
        clear_tile(sums, width)
        clear_tile(more, width)
        add_weighted_rows(sums, grads, q + first * row, row, queries, width)
        add_weighted_rows(more, scores, grad_y + first * grad_stride, grad_stride, queries, width)
        # The queries hold log2(e) / sqrt(E): ln(2) is what remains.
        turn_tile(sums, rope + first * FLOAT, rope_stride, width, load_scalar(scales + 2 * FLOAT), -ONE)
        store_tile(to_k + first * out_stride, out_stride, sums, keys, width)
        store_tile(to_v + first * out_stride, out_stride, more, keys, width)


@Worker
def backward(job: int) -> None:
    """Take (sequence, head) items until none is left."""
    scratch, heads = own_scratch(job), field(job, tiles.HEADS)
    item = next_item(job)
    while item < field(job, tiles.BATCH) * heads:
        _attend_back(job, item // heads, item % heads, scratch)
        item = next_item(job)
