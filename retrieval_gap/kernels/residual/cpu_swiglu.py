"""x + down(silu(gate n) * up n), n = norm(x), on CPU, forward and backward: one chunk of rows at a time, in cache.

Legend: R rows, D model width, F feed-forward width.

An item is a share of the chunks. Each item adds to its own partial sums of the weights' gradients, initially zero; the
caller adds these in order.
"""

from __future__ import annotations

from retrieval_gap.kernels.cpu import FLOAT, VECTOR
from retrieval_gap.kernels.cpu.elementary import sigmoid, silu
from retrieval_gap.kernels.cpu.jobs import FIRST_FIELD, Worker, field, next_item, own_scratch, real_field
from retrieval_gap.kernels.cpu.lanes import ONE, compiled, fma, splat
from retrieval_gap.kernels.cpu.memory import load, store
from retrieval_gap.kernels.cpu.products import product
from retrieval_gap.kernels.cpu.rows import copy, normalise, normalise_back, share

# Rows of a chunk: with all that the backward pass keeps for them, the weights and their gradients, they fill two
# thirds of a second-level cache of 1 MB at D = 64, F = 256.
CHUNK = 64

ROWS, CHUNKS, WIDTH, HIDDEN, ITEMS, EPS = range(FIRST_FIELD, FIRST_FIELD + 6)
# Addresses of contiguous tensors. GATE_UP: (R, 2F), or 0 if it is not needed later. The forward pass takes the
# weights as (D, 2F) and (F, D), the backward pass as (2F, D) and (D, F).
X, Y, GAIN, W_GATE_UP, W_DOWN, GATE_UP = range(EPS + 1, EPS + 7)
GRAD_Y, GRAD_X, GRAD_GAIN, GRAD_W_GATE_UP, GRAD_W_DOWN = range(GATE_UP + 1, GATE_UP + 6)
FIELDS = GRAD_W_DOWN + 1


def scratch_bytes(width: int, hidden: int) -> int:
    """Bytes per worker of a backward pass: a chunk's norm and hidden rows, and the gradients of these, gate and up."""
    return CHUNK * FLOAT * (2 * width + 4 * hidden)


@compiled
def _gate(y: int, gate_up: int, rows: int, hidden: int) -> None:
    up = hidden * FLOAT
    for r in range(rows):
        row, out = gate_up + 2 * r * up, y + r * up
        for c in range(0, up, VECTOR):
            store(out + c, silu(load(row + c)) * load(row + up + c))


@compiled
def _gate_back(y: int, grad_gate_up: int, gate_up: int, grad_y: int, rows: int, hidden: int) -> None:
    """Write the gradients of gate and up; also recompute y."""
    up = hidden * FLOAT
    for r in range(rows):
        row, out, here = gate_up + 2 * r * up, grad_gate_up + 2 * r * up, r * up
        for c in range(0, up, VECTOR):
            gate, raised, g = load(row + c), load(row + up + c), load(grad_y + here + c)
            s = sigmoid(gate)
            opened = gate * s
            store(y + here + c, opened * raised)
            store(out + c, g * raised * (s * fma(gate, splat(ONE) - s, splat(ONE))))
            store(out + up + c, g * opened)


@compiled
def _rows_of(job: int, chunk: int) -> int:
    return min(CHUNK, field(job, ROWS) - chunk * CHUNK)


@compiled
def _chunk_forward(job: int, chunk: int, normed: int) -> None:
    first, rows, width, hidden = chunk * CHUNK, _rows_of(job, chunk), field(job, WIDTH), field(job, HIDDEN)
    row, wide, down = width * FLOAT, 2 * hidden * FLOAT, hidden * FLOAT
    x, y = field(job, X) + first * row, field(job, Y) + first * row
    hidden_rows = normed + CHUNK * row
    gate_up = hidden_rows + CHUNK * down
    if field(job, GATE_UP) != 0:
        gate_up = field(job, GATE_UP) + first * wide
    normalise(normed, x, field(job, GAIN), rows, width, real_field(job, EPS))
    product(0, gate_up, wide, normed, row, FLOAT, field(job, W_GATE_UP), wide, rows, width, 2 * hidden)
    _gate(hidden_rows, gate_up, rows, hidden)
    copy(y, x, rows * width)
    product(1, y, row, hidden_rows, down, FLOAT, field(job, W_DOWN), row, rows, hidden, width)


@compiled
def _chunk_backward(job: int, chunk: int, item: int, normed: int) -> None:
    first, rows, width, hidden = chunk * CHUNK, _rows_of(job, chunk), field(job, WIDTH), field(job, HIDDEN)
    row, wide, down = width * FLOAT, 2 * hidden * FLOAT, hidden * FLOAT
    x, grad_y, grad_x = field(job, X) + first * row, field(job, GRAD_Y) + first * row, field(job, GRAD_X) + first * row
    grad_down = field(job, GRAD_W_DOWN) + item * width * down
    grad_wide = field(job, GRAD_W_GATE_UP) + item * width * wide
    grad_normed = normed + CHUNK * row
    hidden_rows = grad_normed + CHUNK * row
    grad_hidden = hidden_rows + CHUNK * down
    grad_gate_up = grad_hidden + CHUNK * down
    gain, eps = field(job, GAIN), real_field(job, EPS)
    product(0, grad_hidden, down, grad_y, row, FLOAT, field(job, W_DOWN), down, rows, width, hidden)
    _gate_back(hidden_rows, grad_gate_up, field(job, GATE_UP) + first * wide, grad_hidden, rows, hidden)
    product(1, grad_down, down, grad_y, FLOAT, row, hidden_rows, down, width, rows, hidden)
    product(0, grad_normed, row, grad_gate_up, wide, FLOAT, field(job, W_GATE_UP), row, rows, 2 * hidden, width)
    sums = field(job, GRAD_GAIN) + item * row
    normalise_back(grad_x, grad_y, normed, grad_normed, x, gain, sums, rows, width, eps)
    product(1, grad_wide, row, grad_gate_up, FLOAT, wide, normed, row, 2 * hidden, rows, width)


@Worker
def forward(job: int) -> None:
    """Take items until none is left."""
    scratch, item, items, chunks = own_scratch(job), next_item(job), field(job, ITEMS), field(job, CHUNKS)
    while item < items:
        for chunk in range(share(item, items, chunks), share(item + 1, items, chunks)):
            _chunk_forward(job, chunk, scratch)
        item = next_item(job)


@Worker
def backward(job: int) -> None:
    """Take items until none is left."""
    scratch, item, items, chunks = own_scratch(job), next_item(job), field(job, ITEMS), field(job, CHUNKS)
    while item < items:
        for chunk in range(share(item, items, chunks), share(item + 1, items, chunks)):
            _chunk_backward(job, chunk, item, scratch)
        item = next_item(job)
