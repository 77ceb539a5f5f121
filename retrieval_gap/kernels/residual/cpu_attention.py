"""x + out(attention(qkv n)), n = norm(x), on CPU, forward and backward: one sequence at a time, in cache.

Legend: B batch, L time, D model width.

An item is a share of the sequences. Each item adds to its own partial sums of the weights' gradients, initially zero;
the caller adds these in order.
"""

from __future__ import annotations

from retrieval_gap.kernels.cpu import FLOAT, LANES
from retrieval_gap.kernels.cpu.jobs import Worker, field, next_item, own_scratch, real_field
from retrieval_gap.kernels.cpu.lanes import compiled
from retrieval_gap.kernels.cpu.products import product
from retrieval_gap.kernels.cpu.rows import copy, normalise, normalise_back, share
from retrieval_gap.kernels.residual import cpu_attend as k
from retrieval_gap.kernels.residual.cpu_attend import attend, attend_back, head_in_cache


def scratch_bytes(length: int, heads: int, width: int) -> int:
    """Bytes per worker of a backward pass: a sequence's norm and the gradients of it, heads and qkv; those of a head;
    and 16 spare rows, as `to_lanes` reads 16 rows of gradients even if there are fewer."""
    return (6 * length + LANES) * heads * width * FLOAT + k.scratch_bytes(length, width)


@compiled
def _sequence_forward(job: int, b: int, normed: int) -> None:
    length, heads, each = field(job, k.LENGTH), field(job, k.HEADS), field(job, k.WIDTH) * FLOAT
    width, row = heads * field(job, k.WIDTH), heads * each
    x, out = field(job, k.X) + b * length * row, field(job, k.OUT) + b * length * row
    qkv, y = field(job, k.QKV) + 3 * b * length * row, field(job, k.Y) + b * length * row
    keys = normed + length * row
    normalise(normed, x, field(job, k.GAIN), length, width, real_field(job, k.EPS))
    product(0, qkv, 3 * row, normed, row, FLOAT, field(job, k.W_QKV), 3 * row, length, width, 3 * width)
    for h in range(heads):
        if field(job, k.K_CACHE) == 0:
            attend(job, b, h, keys, keys + length * each)
        else:
            attend(job, b, h, head_in_cache(job, k.K_CACHE, b, h), keys)
            kept, v = head_in_cache(job, k.V_CACHE, b, h), qkv + 2 * row + h * each
            for t in range(length):
                copy(kept + t * each, v + 3 * t * row, field(job, k.WIDTH))
    copy(out, x, length * width)
    product(1, out, row, y, row, FLOAT, field(job, k.W_OUT), row, length, width, width)


@compiled
def _sequence_backward(job: int, b: int, item: int, normed: int) -> None:
    length, heads = field(job, k.LENGTH), field(job, k.HEADS)
    width = heads * field(job, k.WIDTH)
    row, all_rows = width * FLOAT, length * width * FLOAT
    x, y, grad_out = field(job, k.X), field(job, k.Y) + b * all_rows, field(job, k.GRAD_OUT) + b * all_rows
    grad_w_out = field(job, k.GRAD_W_OUT) + item * width * row
    grad_w_qkv = field(job, k.GRAD_W_QKV) + 3 * item * width * row
    grad_normed, grad_y, grad_qkv = normed + all_rows, normed + 2 * all_rows, normed + 3 * all_rows
    product(0, grad_y, row, grad_out, row, FLOAT, field(job, k.W_OUT), row, length, width, width)
    product(1, grad_w_out, row, grad_out, FLOAT, row, y, row, width, length, width)
    for h in range(heads):
        attend_back(job, b, h, grad_y, grad_qkv, normed + 6 * all_rows)
    product(0, grad_normed, row, grad_qkv, 3 * row, FLOAT, field(job, k.W_QKV), row, length, 3 * width, width)
    grad_x, sums = field(job, k.GRAD_X) + b * all_rows, field(job, k.GRAD_GAIN) + item * row
    gain, eps = field(job, k.GAIN), real_field(job, k.EPS)
    normalise_back(grad_x, grad_out, normed, grad_normed, x + b * all_rows, gain, sums, length, width, eps)
    product(1, grad_w_qkv, row, grad_qkv, FLOAT, 3 * row, normed, row, 3 * width, length, width)


@Worker
def forward(job: int) -> None:
    """Take items until none is left."""
    scratch, item, items, batch = own_scratch(job), next_item(job), field(job, k.ITEMS), field(job, k.BATCH)
    while item < items:
        for b in range(share(item, items, batch), share(item + 1, items, batch)):
            _sequence_forward(job, b, scratch)
        item = next_item(job)


@Worker
def backward(job: int) -> None:
    """Take items until none is left."""
    scratch, item, items, batch = own_scratch(job), next_item(job), field(job, k.ITEMS), field(job, k.BATCH)
    while item < items:
        for b in range(share(item, items, batch), share(item + 1, items, batch)):
            _sequence_backward(job, b, item, scratch)
        item = next_item(job)
