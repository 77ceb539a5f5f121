"""Rotary attention of one head on CPU, forward and backward: 16 queries at a time, their scores in scratch memory.

Legend: B batch, L time, H heads, E head width, D = H E model width.

Scores are stored key by key, with 16 queries per vector, so that a softmax over keys never crosses lanes. A sum over
keys is then a product whose left factor is the transposed scores, and one over queries a product with the scores.

With weights p and grad_p = <grad_y, v>, a score's gradient is p (grad_p - sum p grad_p), the sum over keys (Dao et al.
2022, arXiv 2205.14135, appendix B); the weights are recomputed. Every sum has one place and one order, so two runs
agree bit for bit.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types

from retrieval_gap.kernels.cpu import FLOAT, LANES, VECTOR
from retrieval_gap.kernels.cpu.elementary import LN_2, LOG2_E, exp2_of_product
from retrieval_gap.kernels.cpu.emit import INT_64, emitted, load_halves, nth, shuffle, store_floats
from retrieval_gap.kernels.cpu.jobs import FIRST_FIELD, field
from retrieval_gap.kernels.cpu.lanes import ONE, ZERO, compiled, fma, lane_numbers, splat, where_less
from retrieval_gap.kernels.cpu.memory import load, load_scalar, load_two, store
from retrieval_gap.kernels.cpu.products import product

# A layer's arguments. Sizes; in a decode step, LENGTH is the number of tokens in the cache, the new one included.
BATCH, LENGTH, HEADS, WIDTH, ITEMS, EPS = range(FIRST_FIELD, FIRST_FIELD + 6)
# Addresses of contiguous tensors. ROPE: (L, 2E), see `rotate_rows`.  QKV: (B, L, 3D).  Y: (B, L, D), head outputs.
# Forward the weights are (D, 3D) and (D, D) transposed, backward as they are.
X, OUT, GAIN, W_QKV, W_OUT, ROPE, QKV, Y = range(EPS + 1, EPS + 9)
GRAD_OUT, GRAD_X, GRAD_GAIN, GRAD_W_QKV, GRAD_W_OUT = range(Y + 1, Y + 6)
# For decoding from here: rotated keys and values (B, H, L, E), their rows contiguous, as an address (0: not wanted),
# then the bytes to the next sequence and head.
K_CACHE, V_CACHE = GRAD_W_OUT + 1, GRAD_W_OUT + 4
FIELDS = V_CACHE + 3

COLUMNS = LANES // 2  # the columns that are transposed into vectors together
# A score whose exponential is 0, and which is still finite when two are added.
NEVER = np.float32(-1e30)


def scratch_bytes(length: int, width: int) -> int:
    """Bytes per head of a backward pass: rotated keys and their gradients; four tiles; scores and their gradients."""
    return 2 * length * width * FLOAT + 4 * width * VECTOR + 2 * length * VECTOR


def _exchange(builder: Any, vectors: list[Any]) -> list[Any]:
    """Transpose both halves (8 x 8) together: exchange each bit of the vector's number with that bit of the lane's."""
    for bit in (1, 2, 4):
        after = list(vectors)
        for r in (r for r in range(COLUMNS) if not r & bit):
            low, high = vectors[r], vectors[r + bit]
            to_low = [LANES + lane - bit if lane & bit else lane for lane in range(LANES)]
            to_high = [LANES + lane if lane & bit else lane + bit for lane in range(LANES)]
            after[r], after[r + bit] = shuffle(builder, low, high, to_low), shuffle(builder, low, high, to_high)
        vectors = after
    return vectors


@emitted(types.void(types.int64, types.int64, types.int64))
def _eight_columns(builder: Any, args: Any) -> None:
    """(target, rows, stride): transpose eight floats of each of 16 rows into eight vectors at `target`.

    Loaded vector r holds row r in its low eight lanes and row r + 8 in its high ones.
    """
    target, rows, stride = args
    places = [nth(builder, rows, stride, r) for r in range(LANES)]
    vectors = [load_halves(builder, *pair) for pair in zip(places[:COLUMNS], places[COLUMNS:], strict=True)]
    for c, vector in enumerate(_exchange(builder, vectors)):
        store_floats(builder, vector, builder.add(target, ir.Constant(INT_64, c * VECTOR)))


@compiled
def to_lanes(target: int, rows: int, stride: int, width: int) -> None:
    """Transpose 16 rows of `width` numbers, a multiple of 8, into `width` vectors: the first numbers, and so on."""
    for c in range(0, width, COLUMNS):
        _eight_columns(target + c * VECTOR, rows + c * FLOAT, stride)


@compiled
def head_in_cache(job: int, cache: int, b: int, h: int) -> int:
    """The address of the first row of head h of sequence b."""
    return field(job, cache) + b * field(job, cache + 1) + h * field(job, cache + 2)


@compiled
def query_scale(width: int) -> np.float32:
    """log2(e) / sqrt(E): the softmax uses powers of two."""
    return np.float32(LOG2_E / math.sqrt(width))


@compiled
def rotate_rows(
    target: int, target_stride: int, source: int, stride: int, rope: int, count: int, width: int,
    scale: np.float32, back: np.float32,
) -> None:  # fmt: skip
    """Rotate rows of a head by their positions' angles (back = 1) or the opposite angles (back = -1), and scale them.

    rope: per position a row with the cosine of each dimension's angle, then the sines, negated in the first half.
    """
    row = width * FLOAT
    for e in range(0, row, VECTOR):
        # The other number of each pair is half a row away.
        low = e + row // 2 if e < row // 2 else e - row // 2
        high = low + VECTOR // 2 if low + VECTOR // 2 < row else 0
        for t in range(count):
            here, angle = source + t * stride, rope + 2 * t * row + e
            turned = load_two(here + low, here + high) * load(angle + row) * splat(scale * back)
            store(target + t * target_stride + e, fma(load(here + e) * load(angle), splat(scale), turned))


@compiled
def _weigh(scores: int, tile: int, keys: int, first: int, queries: int, width: int) -> Any:
    """Write the weights of all keys for queries first..first+15 (in `tile`), of which only `queries` may exist.

    The weights are not yet divided by their sums: returns one over these.
    """
    count = first + queries
    product(0, scores, VECTOR, keys, width * FLOAT, FLOAT, tile, VECTOR, count, width, LANES)
    for j in range(queries):  # mask each key for the queries before it
        score = scores + (first + j) * VECTOR
        store(score, where_less(lane_numbers(), splat(np.float32(j)), splat(NEVER), load(score)))
    largest, total = load(scores), splat(ZERO)
    for score in range(scores, scores + count * VECTOR, VECTOR):
        largest = where_less(largest, load(score), load(score), largest)
    for score in range(scores, scores + count * VECTOR, VECTOR):
        weight = exp2_of_product(load(score) - largest, splat(ONE))
        store(score, weight)
        total = total + weight
    return splat(ONE) / total


@compiled
def _score_gradients(grads: int, weights: int, inverse: Any, count: int) -> None:
    """In place, divide weights by their sums and turn <grad_y, v> into the gradients of scores."""
    total = splat(ZERO)
    for j in range(0, count * VECTOR, VECTOR):
        weight = load(weights + j) * inverse
        store(weights + j, weight)
        total = fma(weight, load(grads + j), total)
    for j in range(0, count * VECTOR, VECTOR):
        store(grads + j, load(weights + j) * (load(grads + j) - total))


@compiled
def attend(job: int, b: int, h: int, keys: int, scratch: int) -> None:
    """One head of one sequence; leaves its rotated keys at `keys`, row by row."""
    length, width, all_heads = field(job, LENGTH), field(job, WIDTH), field(job, HEADS) * field(job, WIDTH) * FLOAT
    row, stride, rope = width * FLOAT, 3 * all_heads, field(job, ROPE)
    q, y = field(job, QKV) + b * length * stride + h * row, field(job, Y) + b * length * all_heads + h * row
    q_rows, tile, scores = scratch, scratch + LANES * row, scratch + 2 * LANES * row
    rotate_rows(keys, row, q + all_heads, stride, rope, length, width, ONE, ONE)
    v = q + 2 * all_heads
    for first in range(0, length, LANES):
        queries = min(LANES, length - first)
        here, angles = q + first * stride, rope + 2 * first * row
        rotate_rows(q_rows, row, here, stride, angles, queries, width, query_scale(width), ONE)
        to_lanes(tile, q_rows, row, width)
        store(tile, _weigh(scores, tile, keys, first, queries, width))
        out = y + first * all_heads
        product(0, out, all_heads, scores, FLOAT, VECTOR, v, stride, queries, first + queries, width)
        for i in range(queries):
            scale = splat(load_scalar(tile + i * FLOAT))
            for e in range(0, row, VECTOR):
                store(out + i * all_heads + e, load(out + i * all_heads + e) * scale)


@compiled
def attend_back(job: int, b: int, h: int, grad_y: int, grad_qkv: int, scratch: int) -> None:
    """One head of one sequence, whose rows of gradients, for all heads, begin at `grad_y` and `grad_qkv`."""
    length, width, all_heads = field(job, LENGTH), field(job, WIDTH), field(job, HEADS) * field(job, WIDTH) * FLOAT
    row, stride, rope = width * FLOAT, 3 * all_heads, field(job, ROPE)
    q, grad_y, grad_q = field(job, QKV) + b * length * stride + h * row, grad_y + h * row, grad_qkv + h * row
    v, grad_v, keys = q + 2 * all_heads, grad_q + 2 * all_heads, scratch
    grad_keys, q_rows = keys + length * row, keys + 2 * length * row
    tile, grad_tile, grad_rows = q_rows + LANES * row, q_rows + 2 * LANES * row, q_rows + 3 * LANES * row
    scores = q_rows + 4 * LANES * row
    grads = scores + length * VECTOR
    rotate_rows(keys, row, q + all_heads, stride, rope, length, width, ONE, ONE)
    last = (length - 1) // LANES * LANES
    for first in range(last, -1, -LANES):  # the last queries see every key: they initialise all keys' gradients
        queries, add = min(LANES, length - first), 1 if first < last else 0
        count, here, angles, above = first + queries, first * stride, rope + 2 * first * row, grad_y + first * all_heads
        rotate_rows(q_rows, row, q + here, stride, angles, queries, width, query_scale(width), ONE)
        to_lanes(tile, q_rows, row, width)
        to_lanes(grad_tile, above, all_heads, width)
        inverse = _weigh(scores, tile, keys, first, queries, width)
        product(0, grads, VECTOR, v, stride, FLOAT, grad_tile, VECTOR, count, width, LANES)
        _score_gradients(grads, scores, inverse, count)
        product(0, grad_rows, row, grads, FLOAT, VECTOR, keys, row, queries, count, width)
        rotate_rows(
            grad_q + here, stride, grad_rows, row, angles, queries, width, ONE / np.float32(math.sqrt(width)), -ONE
        )
        product(add, grad_keys, row, grads, VECTOR, FLOAT, q_rows, row, count, queries, width)
        product(add, grad_v, stride, scores, VECTOR, FLOAT, above, all_heads, count, queries, width)
    # The scaled queries include log2(e) / sqrt(E): the factor ln(2) remains.
    rotate_rows(grad_q + all_heads, stride, grad_keys, row, rope, length, width, LN_2, -ONE)
