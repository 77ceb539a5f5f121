"""x + out(attention(qkv n)), n = norm(x), on CPU, forward and backward: a sequence at a time stays in cache.

Legend: B batch, L time, D model width.

An item is a share of the sequences. The weights' gradients are left as one partial sum per item: whoever calls adds
them in order. The fields of rotary attention come first, and its Y is what the heads give.
"""

from __future__ import annotations

from retrieval_gap.kernels.cpu import FLOAT, VECTOR
from retrieval_gap.kernels.cpu.jobs import Worker, field, next_item, own_scratch
from retrieval_gap.kernels.cpu.lanes import compiled
from retrieval_gap.kernels.cpu.memory import load_scalar
from retrieval_gap.kernels.cpu.products import product
from retrieval_gap.kernels.cpu.rows import clear, copy, normalise, normalise_back, share
from retrieval_gap.kernels.residual import cpu_attend, cpu_attend_back, cpu_tiles
from retrieval_gap.kernels.residual.cpu_attend import attend
from retrieval_gap.kernels.residual.cpu_attend_back import attend_back
from retrieval_gap.kernels.residual.cpu_tiles import BATCH, HEADS, LENGTH, QKV, WIDTH, at, head_in_cache

# Addresses of contiguous tensors. The forward pass takes the weights as (D, 3D) and (D, D) transposed, the backward
# pass as they are.
ITEMS, X, OUT, EPS, GAIN, W_QKV, W_OUT = range(cpu_tiles.FIELDS, cpu_tiles.FIELDS + 7)
GRAD_OUT, GRAD_X, GRAD_GAIN, GRAD_W_QKV, GRAD_W_OUT = range(W_OUT + 1, W_OUT + 6)
# Where decoding goes on from here: tensors with axes (batch, head, time, E) for turned keys and for values, as an
# address (0: nobody wants them), then the bytes to the next sequence, head and step.
K_CACHE, V_CACHE = GRAD_W_OUT + 1, GRAD_W_OUT + 5
FIELDS = V_CACHE + 4


def forward_scratch_bytes(length: int, heads: int, width: int) -> int:
    """What a worker needs: staging, a sequence's norm, and what a head needs."""
    return VECTOR + length * heads * width * FLOAT + cpu_attend.scratch_bytes(length, width)


def backward_scratch_bytes(length: int, heads: int, width: int) -> int:
    """What a worker needs: staging; a sequence's norm and the gradients of it, the heads and qkv; what a head needs."""
    return VECTOR + 6 * length * heads * width * FLOAT + cpu_attend_back.scratch_bytes(length, width)


@compiled
def _sequence_forward(job: int, b: int, scratch: int) -> None:
    length, heads = field(job, LENGTH), field(job, HEADS)
    width = heads * field(job, WIDTH)
    row = width * FLOAT
    x, out = field(job, X) + b * length * row, field(job, OUT) + b * length * row
    normed = scratch + VECTOR
    head_scratch = normed + length * row
    normalise(normed, x, field(job, GAIN), length, width, load_scalar(field(job, EPS)))
    qkv = at(job, QKV, b, 0, 0)
    product(0, qkv, 3 * row, normed, row, FLOAT, field(job, W_QKV), 3 * row, length, width, 3 * width)
    each = field(job, WIDTH)
    after_keys = head_scratch + length * each * FLOAT
    for h in range(heads):
        if field(job, K_CACHE) == 0:
            attend(job, b, h, head_scratch, after_keys)
        else:
            attend(job, b, h, head_in_cache(job, K_CACHE, b, h), after_keys)
            v, kept, stride = at(job, QKV, b, 2, h), head_in_cache(job, V_CACHE, b, h), field(job, V_CACHE + 3)
            for t in range(length):
                copy(kept + t * stride, v + t * 3 * row, each)
    copy(out, x, length * width)
    product(1, out, row, at(job, cpu_tiles.Y, b, 0, 0), row, FLOAT, field(job, W_OUT), row, length, width, width)


@compiled
def _sequence_backward(job: int, b: int, item: int, scratch: int) -> None:
    length, heads = field(job, LENGTH), field(job, HEADS)
    width = heads * field(job, WIDTH)
    row, all_rows = width * FLOAT, length * width * FLOAT
    x, grad_out = field(job, X) + b * all_rows, field(job, GRAD_OUT) + b * all_rows
    grad_w_out, grad_w_qkv = (
        field(job, GRAD_W_OUT) + item * width * row,
        field(job, GRAD_W_QKV) + item * width * 3 * row,
    )
    normed = scratch + VECTOR
    grad_normed, grad_y, grad_qkv = normed + all_rows, normed + 2 * all_rows, normed + 3 * all_rows
    head_scratch = normed + 6 * all_rows
    gain, eps = field(job, GAIN), load_scalar(field(job, EPS))
    product(0, grad_y, row, grad_out, row, FLOAT, field(job, W_OUT), row, length, width, width)
    product(1, grad_w_out, row, grad_out, FLOAT, row, at(job, cpu_tiles.Y, b, 0, 0), row, width, length, width)
    for h in range(heads):
        attend_back(job, b, h, grad_y, grad_qkv, head_scratch)
    product(0, grad_normed, row, grad_qkv, 3 * row, FLOAT, field(job, W_QKV), row, length, 3 * width, width)
    grad_x, sums = field(job, GRAD_X) + b * all_rows, field(job, GRAD_GAIN) + item * row
    normalise_back(grad_x, grad_out, normed, grad_normed, x, gain, sums, length, width, eps)
    product(1, grad_w_qkv, row, grad_qkv, FLOAT, 3 * row, normed, row, 3 * width, length, width)


@Worker
def forward(job: int) -> None:
    """Take items until none is left."""
    scratch, item, items, batch = own_scratch(job), next_item(job), field(job, ITEMS), field(job, BATCH)
    while item < items:
        for b in range(share(item, items, batch), share(item + 1, items, batch)):
            _sequence_forward(job, b, scratch)
        item = next_item(job)


@Worker
def backward(job: int) -> None:
    """Take items until none is left."""
    scratch, item, items, batch = own_scratch(job), next_item(job), field(job, ITEMS), field(job, BATCH)
    width = field(job, HEADS) * field(job, WIDTH)
    weights = width * width
    while item < items:
        clear(field(job, GRAD_GAIN) + item * width * FLOAT, width)
        clear(field(job, GRAD_W_OUT) + item * weights * FLOAT, weights)
        clear(field(job, GRAD_W_QKV) + 3 * item * weights * FLOAT, 3 * weights)
        for b in range(share(item, items, batch), share(item + 1, items, batch)):
            _sequence_backward(job, b, item, scratch)
        item = next_item(job)
