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
    load,
    load_scalar,
    splat,
    store,
    store_scalar,
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
)


def scratch_bytes(length: int, width: int) -> int:
    """What a worker needs: turned queries, keys and their gradients; two vectors a position; four tiles; delta."""
    rows, vectors = 4 * length * width * FLOAT, 2 * length * VECTOR
    return rows + vectors + 4 * width * VECTOR + 3 * VECTOR + (length + LANES) * FLOAT


@compiled
def _deltas(delta: int, y: int, y_stride: int, grad: int, grad_stride: int, length: int, width: int) -> None:
    """<grad_y, y> of each position."""
    for t in range(length):
        total = ZERO
        for e in range(0, width * FLOAT, FLOAT):
            total += load_scalar(y + t * y_stride + e) * load_scalar(grad + t * grad_stride + e)
        store_scalar(delta + t * FLOAT, total)


@compiled
def _load_lanes(target: int, source: int, count: int) -> None:
    for i in range(LANES):
        store_scalar(target + i * FLOAT, load_scalar(source + i * FLOAT) if i < count else ZERO)


@compiled
def _score_gradients_of_queries(scores: int, grads: int, count: int, lanes: int) -> None:
    """For 16 queries in the lanes: scores and <grad_y, v> to the gradients of scores, in place of the scores."""
    largest, inverse, delta = load(lanes), load(lanes + VECTOR), load(lanes + 2 * VECTOR)
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
def _scale_tile(tile: int, width: int, scale: float) -> None:
    for e in range(width):
        store(tile + e * VECTOR, load(tile + e * VECTOR) * splat(scale))


@compiled
def _attend_back(job: int, b: int, h: int, scratch: int) -> None:
    """One head of one sequence."""
    length, width = field(job, tiles.LENGTH), field(job, tiles.WIDTH)
    row = width * FLOAT
    q, k, grad_q, grad_k = (
        scratch,
        scratch + length * row,
        scratch + 2 * length * row,
        scratch + 3 * length * row,
    )
    scores = scratch + 4 * length * row
    grads = scores + length * VECTOR
    tile = grads + length * VECTOR
    other, sums, more = tile + width * VECTOR, tile + 2 * width * VECTOR, tile + 3 * width * VECTOR
    lanes = tile + 4 * width * VECTOR
    delta = lanes + 3 * VECTOR
    kept = (b * field(job, tiles.HEADS) + h) * length * FLOAT
    largest, inverse = field(job, tiles.LARGEST) + kept, field(job, tiles.INVERSE_SUM) + kept
    stride, rope, numbers = field(job, tiles.QKV + 2), field(job, tiles.ROPE), field(job, tiles.LANE_NUMBERS)
    log2_scale, scale = load_scalar(field(job, tiles.SCALE)), load_scalar(field(job, tiles.SCALE) + FLOAT)
    ln_2 = load_scalar(field(job, tiles.SCALE) + 2 * FLOAT)
    grad_y, grad_stride = at(job, tiles.GRAD_Y, b, 0, h), field(job, tiles.GRAD_Y + 2)
    v = at(job, tiles.QKV, b, 2, h)
    turn_rows(q, row, at(job, tiles.QKV, b, 0, h), stride, rope, length, width, log2_scale, ONE)
    turn_rows(k, row, at(job, tiles.QKV, b, 1, h), stride, rope, length, width, ONE, ONE)
    _deltas(delta, at(job, tiles.Y, b, 0, h), field(job, tiles.Y + 2), grad_y, grad_stride, length, width)

    for first in range(0, length, LANES):
        queries = min(LANES, length - first)
        keys = first + queries
        load_tile(tile, q + first * row, row, queries, width)
        load_tile(other, grad_y + first * grad_stride, grad_stride, queries, width)
        products(scores, tile, k, row, keys, width)
        products(grads, other, v, stride, keys, width)
        hide_later_keys(scores, first, queries, numbers)
        _load_lanes(lanes, largest + first * FLOAT, queries)
        _load_lanes(lanes + VECTOR, inverse + first * FLOAT, queries)
        _load_lanes(lanes + 2 * VECTOR, delta + first * FLOAT, queries)
        _score_gradients_of_queries(scores, grads, keys, lanes)
        clear_tile(sums, width)
        add_weighted_rows(sums, scores, k, row, keys, width)
        store_tile(grad_q + first * row, row, sums, queries, width)

    out_stride = field(job, tiles.GRAD_QKV + 2)
    grad_v = at(job, tiles.GRAD_QKV, b, 2, h)
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
        _scale_tile(sums, width, ln_2)  # the queries hold log2(e) / sqrt(E)
        store_tile(grad_k + first * row, row, sums, keys, width)
        store_tile(grad_v + first * out_stride, out_stride, more, keys, width)
    turn_rows(at(job, tiles.GRAD_QKV, b, 0, h), out_stride, grad_q, row, rope, length, width, scale, -ONE)
    turn_rows(at(job, tiles.GRAD_QKV, b, 1, h), out_stride, grad_k, row, rope, length, width, ONE, -ONE)


@Worker
def backward(job: int) -> None:
    """Take (sequence, head) items until none is left."""
    scratch, heads = own_scratch(job), field(job, tiles.HEADS)
    item = next_item(job)
    while item < field(job, tiles.BATCH) * heads:
        _attend_back(job, item // heads, item % heads, scratch)
        item = next_item(job)
