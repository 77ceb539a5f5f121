"""x + out(attention(qkv n)), n = norm(x), on CPU for one token of each sequence: a decode step.

Legend: B batch, T tokens read before, H heads, E head width, D = H E model width.

An item is a share of the sequences. Each token's key, turned, and its value are written into the caches; a score is
then the product of its query with a cached key, 16 keys at a time, and the caches are read once, in their order.
"""

from __future__ import annotations

import numpy as np

from retrieval_gap.kernels.cpu import FLOAT, LANES, VECTOR
from retrieval_gap.kernels.cpu.elementary import exp2_of_product
from retrieval_gap.kernels.cpu.jobs import FIRST_FIELD, Worker, field, next_item, own_scratch
from retrieval_gap.kernels.cpu.lanes import (
    ONE,
    ZERO,
    compiled,
    dots_of_sixteen,
    fma,
    largest_lane,
    splat,
    total,
    where_less,
)
from retrieval_gap.kernels.cpu.memory import load, load_scalar, prefetch, store
from retrieval_gap.kernels.cpu.products import product
from retrieval_gap.kernels.cpu.rows import copy, normalise, share
from retrieval_gap.kernels.residual.cpu_attend import NEVER
from retrieval_gap.kernels.residual.cpu_tiles import head_in_cache

# Sequences that go through a projection together.
CHUNK = 32

BATCH, BEFORE, HEADS, WIDTH, ITEMS = range(FIRST_FIELD, FIRST_FIELD + 5)
# Addresses of contiguous tensors: W_QKV (D, 3D) and W_OUT (D, D) transposed; COS and SIN, the angles of this position
# for each of a head's E dimensions, the sines of the first half with a minus; SCALE: log2(e) / sqrt(E).
X, OUT, EPS, GAIN, W_QKV, W_OUT, COS, SIN, SCALE, LANE_NUMBERS = range(ITEMS + 1, ITEMS + 11)
# Tensors with axes (B, H, T, E): an address, then the bytes to the next sequence, head and token.
K_CACHE, V_CACHE = LANE_NUMBERS + 1, LANE_NUMBERS + 5
FIELDS = V_CACHE + 4


def scratch_bytes(before: int, heads: int, width: int) -> int:
    """What a worker needs: staging; a chunk's norm, queries, keys, values, heads; a head twice, its scores, 16 keys."""
    scores = (before + LANES) // LANES * VECTOR
    return VECTOR + 5 * CHUNK * heads * width * FLOAT + 2 * width * FLOAT + scores + LANES * width * FLOAT


@compiled
def _turn(target: int, source: int, job: int, width: int, twice: int, scale: float) -> None:
    """A head's E numbers, turned by the position's angles and scaled. `twice`: room for them two times over."""
    half = width // 2 * FLOAT
    copy(twice, source, width)
    copy(twice + width * FLOAT, source, width)
    for e in range(0, width * FLOAT, VECTOR):
        # Behind the first half comes the second, and behind that the first again: the other one of each pair.
        turned = fma(load(twice + half + e), load(field(job, SIN) + e), load(source + e) * load(field(job, COS) + e))
        store(target + e, turned * splat(scale))


@compiled
def _ask_for(rows: int, size: int) -> None:
    """Caches are too large to lie near, and each head's part too short for the processor to foresee the next."""
    for line in range(rows, rows + size, VECTOR):
        prefetch(line)


@compiled
def _scores(
    scores: int, q: int, keys: int, values: int, count: int, width: int, sixteen: int, lane_numbers: int
) -> None:
    """Of one query with `count` keys; the lanes past them never count. `sixteen`: room for as many keys.

    values: what is needed next.
    """
    row = width * FLOAT
    for j in range(0, count, LANES):
        block = keys + j * row
        _ask_for(values + j * row, LANES * row)
        if count - j < LANES:
            copy(sixteen, block, (count - j) * width)
            block = sixteen
        score = splat(ZERO)
        for e in range(0, row, VECTOR):
            score = score + dots_of_sixteen(block + e, row, load(q + e))
        if count - j < LANES:
            score = where_less(load(lane_numbers), splat(np.float32(count - j)), score, splat(NEVER))
        store(scores + j * FLOAT, score)


@compiled
def _softmax(scores: int, count: int) -> float:
    """Scores to weights, not yet divided by their sum; one over the sum."""
    largest = load(scores)
    for j in range(VECTOR, count * FLOAT, VECTOR):
        score = load(scores + j)
        largest = where_less(largest, score, score, largest)
    shift, sums = splat(largest_lane(largest)), splat(ZERO)
    for j in range(0, count * FLOAT, VECTOR):
        weight = exp2_of_product(load(scores + j) - shift, splat(ONE))
        store(scores + j, weight)
        sums = sums + weight
    return ONE / total(sums)


@compiled
def _weighted(y: int, weights: int, values: int, next_keys: int, count: int, width: int, scale: float) -> None:
    """The weighted sum of `count` values of E numbers, scaled: four sums, each of every fourth.

    next_keys: what is needed next.
    """
    row, whole = width * FLOAT, count - count % 4
    for e in range(0, row, VECTOR):
        a, b, c, d = splat(ZERO), splat(ZERO), splat(ZERO), splat(ZERO)
        for j in range(0, whole, 4):
            weight, value = weights + j * FLOAT, values + j * row + e
            if e == 0:
                _ask_for(next_keys + j * row, 4 * row)
            a = fma(splat(load_scalar(weight)), load(value), a)
            b = fma(splat(load_scalar(weight + FLOAT)), load(value + row), b)
            c = fma(splat(load_scalar(weight + 2 * FLOAT)), load(value + 2 * row), c)
            d = fma(splat(load_scalar(weight + 3 * FLOAT)), load(value + 3 * row), d)
        for j in range(whole, count):
            a = fma(splat(load_scalar(weights + j * FLOAT)), load(values + j * row + e), a)
        store(y + e, ((a + b) + (c + d)) * splat(scale))


@compiled
def _head(job: int, b: int, h: int, y: int, qkv: int, scratch: int) -> None:
    """One head of one sequence, from the row of its queries, keys and values."""
    width, before = field(job, WIDTH), field(job, BEFORE)
    row = width * FLOAT
    all_heads, q = field(job, HEADS) * row, qkv + h * row
    sixteen = scratch + 2 * row
    scores = sixteen + LANES * row
    keys, values = head_in_cache(job, K_CACHE, b, h), head_in_cache(job, V_CACHE, b, h)
    _turn(keys + before * row, q + all_heads, job, width, scratch, ONE)
    copy(values + before * row, q + 2 * all_heads, width)
    _turn(q, q, job, width, scratch, load_scalar(field(job, SCALE)))
    _scores(scores, q, keys, values, before + 1, width, sixteen, field(job, LANE_NUMBERS))
    next_keys = (
        head_in_cache(job, K_CACHE, b, h + 1) if h + 1 < field(job, HEADS) else head_in_cache(job, K_CACHE, b + 1, 0)
    )
    _weighted(y + h * row, scores, values, next_keys, before + 1, width, _softmax(scores, before + 1))


@compiled
def _chunk(job: int, first: int, rows: int, scratch: int) -> None:
    heads = field(job, HEADS)
    width = heads * field(job, WIDTH)
    row = width * FLOAT
    x, out = field(job, X) + first * row, field(job, OUT) + first * row
    normed = scratch + VECTOR
    qkv, y = normed + CHUNK * row, normed + 4 * CHUNK * row
    normalise(normed, x, field(job, GAIN), rows, width, load_scalar(field(job, EPS)))
    product(0, qkv, 3 * row, normed, row, FLOAT, field(job, W_QKV), 3 * row, rows, width, 3 * width)
    for r in range(rows):
        for h in range(heads):
            _head(job, first + r, h, y + r * row, qkv + 3 * r * row, y + CHUNK * row)
    copy(out, x, rows * width)
    product(1, out, row, y, row, FLOAT, field(job, W_OUT), row, rows, width, width)


@Worker
def step(job: int) -> None:
    """Take items until none is left."""
    scratch, item, items, batch = own_scratch(job), next_item(job), field(job, ITEMS), field(job, BATCH)
    while item < items:
        last = share(item + 1, items, batch)
        for first in range(share(item, items, batch), last, CHUNK):
            _chunk(job, first, min(CHUNK, last - first), scratch)
        item = next_item(job)
