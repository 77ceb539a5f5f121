"""x + out(attention(qkv n)), n = norm(x), on CPU for one token of each sequence: a decode step.

Legend: B batch, T tokens read before, H heads, E head width, D = H E model width.

An item is a share of the sequences. Each token's rotated key and its value are written into the caches; the scores are
then dot products of its query with the cached keys, 16 at a time, and the caches are read once, in order.
"""

from __future__ import annotations

import numpy as np

from retrieval_gap.kernels.cpu import FLOAT, LANES, VECTOR
from retrieval_gap.kernels.cpu.elementary import exp2_of_product
from retrieval_gap.kernels.cpu.jobs import Worker, field, next_item, own_scratch, real_field
from retrieval_gap.kernels.cpu.lanes import (
    ONE,
    ZERO,
    compiled,
    dots_of_sixteen,
    fma,
    lane_numbers,
    largest_lane,
    splat,
    total,
    where_less,
)
from retrieval_gap.kernels.cpu.memory import load, load_scalar, prefetch, store
from retrieval_gap.kernels.cpu.products import product
from retrieval_gap.kernels.cpu.rows import copy, normalise, share
from retrieval_gap.kernels.residual import cpu_attend as k
from retrieval_gap.kernels.residual.cpu_attend import NEVER, head_in_cache, query_scale, rotate_rows

# Sequences that go through a projection together.
CHUNK = 32


def scratch_bytes(length: int, heads: int, width: int) -> int:
    """Bytes per worker: a chunk's norm, queries, keys, values, heads; a rotated query, 16 keys, scores."""
    return 5 * CHUNK * heads * width * FLOAT + (1 + LANES) * width * FLOAT + -(-length // LANES) * VECTOR


@compiled
def _ask_for(rows: int, size: int) -> None:
    """Prefetch rows: too many for the fast caches, and too few per head for the processor to predict."""
    for line in range(rows, rows + size, VECTOR):
        prefetch(line)


@compiled
def _scores(scores: int, q: int, keys: int, values: int, count: int, width: int, sixteen: int) -> None:
    """Write the scores of one query with `count` keys, NEVER in the lanes past them.

    values: prefetched for what follows.  sixteen: room for 16 keys.
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
            score = where_less(lane_numbers(), splat(np.float32(count - j)), score, splat(NEVER))
        store(scores + j * FLOAT, score)


@compiled
def _softmax(scores: int, count: int) -> float:
    """Turn scores into weights, not yet divided by their sum; return one over the sum."""
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
    """Write the scaled weighted sum of `count` values of E numbers: four sums, each of every fourth value.

    next_keys: prefetched for what follows.
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
    """One head of one sequence, given the sequence's row of queries, keys and values."""
    width, tokens, heads, rope = field(job, k.WIDTH), field(job, k.LENGTH), field(job, k.HEADS), field(job, k.ROPE)
    row, q = width * FLOAT, qkv + h * width * FLOAT
    sixteen, scores = scratch + row, scratch + (1 + LANES) * row
    keys, values = head_in_cache(job, k.K_CACHE, b, h), head_in_cache(job, k.V_CACHE, b, h)
    rotate_rows(keys + (tokens - 1) * row, row, q + heads * row, row, rope, 1, width, ONE, ONE)
    copy(values + (tokens - 1) * row, q + 2 * heads * row, width)
    rotate_rows(scratch, row, q, row, rope, 1, width, query_scale(width), ONE)
    _scores(scores, scratch, keys, values, tokens, width, sixteen)
    next_keys = head_in_cache(job, k.K_CACHE, b + (h + 1) // heads, (h + 1) % heads)
    _weighted(y + h * row, scores, values, next_keys, tokens, width, _softmax(scores, tokens))


@compiled
def _chunk(job: int, first: int, rows: int, normed: int) -> None:
    heads = field(job, k.HEADS)
    width = heads * field(job, k.WIDTH)
    row = width * FLOAT
    x, out = field(job, k.X) + first * row, field(job, k.OUT) + first * row
    qkv, y = normed + CHUNK * row, normed + 4 * CHUNK * row
    normalise(normed, x, field(job, k.GAIN), rows, width, real_field(job, k.EPS))
    product(0, qkv, 3 * row, normed, row, FLOAT, field(job, k.W_QKV), 3 * row, rows, width, 3 * width)
    for r in range(rows):
        for h in range(heads):
            _head(job, first + r, h, y + r * row, qkv + 3 * r * row, y + CHUNK * row)
    copy(out, x, rows * width)
    product(1, out, row, y, row, FLOAT, field(job, k.W_OUT), row, rows, width, width)


@Worker
def step(job: int) -> None:
    """Take items until none is left."""
    scratch, item, items, batch = own_scratch(job), next_item(job), field(job, k.ITEMS), field(job, k.BATCH)
    while item < items:
        last = share(item + 1, items, batch)
        for first in range(share(item, items, batch), last, CHUNK):
            _chunk(job, first, min(CHUNK, last - first), scratch)
        item = next_item(job)
