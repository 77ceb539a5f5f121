"""RMSNorm on CPU, forward and backward: one pass over memory.

An item is BLOCK rows. The gradient of the weight is left as one partial sum per item.
"""

from __future__ import annotations

from retrieval_gap.kernels.cpu import FLOAT
from retrieval_gap.kernels.cpu.jobs import FIRST_FIELD, Worker, field, next_item
from retrieval_gap.kernels.cpu.lanes import compiled
from retrieval_gap.kernels.cpu.memory import load_scalar, store_scalar
from retrieval_gap.kernels.cpu.rows import clear, normalise_row, normalise_row_back

BLOCK = 64

# SCALES holds 1 / sqrt(mean(x^2) + eps) of every row.
ROWS, CHANNELS, EPS, WEIGHT, SCALES, GRAD_WEIGHT = range(FIRST_FIELD, FIRST_FIELD + 6)
# Tensors with axes (rows, channels): an address, then the bytes to the next row.
X, Y, GRAD_Y, GRAD_X = range(GRAD_WEIGHT + 1, GRAD_WEIGHT + 9, 2)
FIELDS = GRAD_X + 2


@compiled
def _at(job: int, view: int, row: int) -> int:
    return field(job, view) + row * field(job, view + 1)


@Worker
def forward(job: int) -> None:
    """Take blocks of rows until none is left."""
    item, eps = next_item(job), load_scalar(field(job, EPS))
    while item * BLOCK < field(job, ROWS):
        for row in range(item * BLOCK, min(item * BLOCK + BLOCK, field(job, ROWS))):
            scale = normalise_row(_at(job, Y, row), _at(job, X, row), field(job, WEIGHT), field(job, CHANNELS), eps)
            store_scalar(field(job, SCALES) + row * FLOAT, scale)
        item = next_item(job)


@Worker
def backward(job: int) -> None:
    """Take blocks of rows until none is left."""
    item, channels = next_item(job), field(job, CHANNELS)
    while item * BLOCK < field(job, ROWS):
        sums = field(job, GRAD_WEIGHT) + item * channels * FLOAT
        clear(sums, channels)
        for row in range(item * BLOCK, min(item * BLOCK + BLOCK, field(job, ROWS))):
            x, grad, grad_x = _at(job, X, row), _at(job, GRAD_Y, row), _at(job, GRAD_X, row)
            scale = load_scalar(field(job, SCALES) + row * FLOAT)
            normalise_row_back(grad_x, grad, x, field(job, WEIGHT), sums, scale, channels)
        item = next_item(job)
