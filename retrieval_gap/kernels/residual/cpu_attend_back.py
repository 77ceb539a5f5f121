"""Backward rotary attention on CPU: one sweep over 16 queries at a time, their weights computed again.

Legend: B batch, L time, H heads, E head width.

With weights p and grad_p = <grad_y, v>, a score's gradient is p (grad_p - sum p grad_p), the sum over keys (Dao et al.
2022, arXiv 2205.14135, appendix B). A query's gradient is a sum over keys, vector by vector; a key's and a value's grow
by a block of 16 queries at a time. Every sum is in one place and one order, so two runs give equal bits.
"""

from __future__ import annotations

from retrieval_gap.kernels.cpu import FLOAT, LANES, VECTOR
from retrieval_gap.kernels.cpu.elementary import exp2_of_product
from retrieval_gap.kernels.cpu.jobs import field
from retrieval_gap.kernels.cpu.lanes import ONE, ZERO, compiled, fma, splat
from retrieval_gap.kernels.cpu.memory import load, load_scalar, store
from retrieval_gap.kernels.residual import cpu_tiles as tiles
from retrieval_gap.kernels.residual.cpu_attend import hide_later_keys
from retrieval_gap.kernels.residual.cpu_tiles import (
    add_weighted_block,
    add_weighted_rows,
    at,
    clear_rows,
    clear_tile,
    load_tile,
    products,
    store_tile,
    turn_rows,
    turn_tile,
)


def scratch_bytes(length: int, width: int) -> int:
    """What a worker needs: turned keys and their gradients; two vectors a position; three tiles; two blocks of rows."""
    return 2 * length * width * FLOAT + 2 * length * VECTOR + 5 * width * VECTOR


@compiled
def _weights_and_score_gradients(scores: int, grads: int, count: int, largest_at: int, inverse_at: int) -> None:
    """In place, for 16 queries: scores to weights, <grad_y, v> to the gradients of scores."""
    largest, inverse, total = load(largest_at), load(inverse_at), splat(ZERO)
    for j in range(count):
        here = j * VECTOR
        weight = exp2_of_product(load(scores + here) - largest, splat(ONE)) * inverse
        store(scores + here, weight)
        total = fma(weight, load(grads + here), total)
    for j in range(count):
        here = j * VECTOR
        store(grads + here, load(scores + here) * (load(grads + here) - total))


@compiled
def attend_back(job: int, b: int, h: int, grad_y_b: int, grad_qkv_b: int, scratch: int) -> None:
    """One head of one sequence, whose gradients begin at `grad_y_b` and `grad_qkv_b`."""
    length, width, padded = field(job, tiles.LENGTH), field(job, tiles.WIDTH), field(job, tiles.PADDED)
    row, rope, rope_stride = width * FLOAT, field(job, tiles.ROPE), padded * FLOAT
    k, grad_k = scratch, scratch + length * row
    scores = grad_k + length * row
    grads = scores + length * VECTOR
    tile = grads + length * VECTOR
    grad_tile, sums = tile + width * VECTOR, tile + 2 * width * VECTOR
    q_block, grad_block = tile + 3 * width * VECTOR, tile + 4 * width * VECTOR
    kept = (b * field(job, tiles.HEADS) + h) * padded * FLOAT
    largest, inverse = field(job, tiles.LARGEST) + kept, field(job, tiles.INVERSE_SUM) + kept
    stride, numbers, scales = field(job, tiles.QKV + 2), field(job, tiles.LANE_NUMBERS), field(job, tiles.SCALE)
    grad_y, grad_stride = grad_y_b + h * row, field(job, tiles.GRAD_Y + 2)
    all_heads, out_stride = field(job, tiles.HEADS) * row, field(job, tiles.GRAD_QKV + 2)
    to_q = grad_qkv_b + h * row
    to_k, to_v = to_q + all_heads, to_q + 2 * all_heads
    q, v = at(job, tiles.QKV, b, 0, h), at(job, tiles.QKV, b, 2, h)
    turn_rows(k, at(job, tiles.QKV, b, 1, h), stride, rope, rope_stride, tile, length, width, ONE)
    clear_rows(grad_k, row, length, width)
    clear_rows(to_v, out_stride, length, width)

    for first in range(0, length, LANES):
        queries, here, angles = min(LANES, length - first), first * FLOAT, rope + first * FLOAT
        keys = first + queries
        load_tile(tile, q + first * stride, stride, queries, width)
        turn_tile(tile, angles, rope_stride, width, load_scalar(scales), ONE)
        load_tile(grad_tile, grad_y + first * grad_stride, grad_stride, queries, width)
        store_tile(q_block, row, tile, LANES, width)
        store_tile(grad_block, row, grad_tile, LANES, width)
        products(scores, tile, k, row, keys, width)
        products(grads, grad_tile, v, stride, keys, width)
        hide_later_keys(scores, first, queries, numbers)
        _weights_and_score_gradients(scores, grads, keys, largest + here, inverse + here)
        clear_tile(sums, width)
        add_weighted_rows(sums, grads, k, row, keys, width)
        turn_tile(sums, angles, rope_stride, width, load_scalar(scales + FLOAT), -ONE)
        store_tile(to_q + first * out_stride, out_stride, sums, queries, width)
        add_weighted_block(grad_k, row, q_block, grads, keys, width)
        add_weighted_block(to_v, out_stride, grad_block, scores, keys, width)

    for first in range(0, length, LANES):
        keys = min(LANES, length - first)
        load_tile(tile, grad_k + first * row, row, keys, width)
        # The queries hold log2(e) / sqrt(E): ln(2) is what remains.
        turn_tile(tile, rope + first * FLOAT, rope_stride, width, load_scalar(scales + 2 * FLOAT), -ONE)
        store_tile(to_k + first * out_stride, out_stride, tile, keys, width)
