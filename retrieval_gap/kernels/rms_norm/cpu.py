"""RMSNorm on CPU, forward and backward: one pass over memory.

Legend: R rows (any number of leading axes), D channels, a multiple of 16, I items.

An item is BLOCK rows. The gradient of the weight is left as one partial sum per item.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from retrieval_gap.kernels.cpu import FLOAT, LANES, jobs
from retrieval_gap.kernels.cpu.jobs import FIRST_FIELD, Job, Worker, field, next_item, real_field
from retrieval_gap.kernels.cpu.memory import load_scalar, store_scalar
from retrieval_gap.kernels.cpu.rows import clear, normalise_row, normalise_row_back

BLOCK = 64

# Contiguous tensors: X, Y and their gradients (R, D), WEIGHT (D), GRAD_WEIGHT (I, D), and SCALES (R), which holds
# 1 / sqrt(mean(x^2) + eps) of every row.
ROWS, CHANNELS, EPS, WEIGHT, SCALES, GRAD_WEIGHT, X, Y, GRAD_Y, GRAD_X = range(FIRST_FIELD, FIRST_FIELD + 10)
FIELDS = GRAD_X + 1


@Worker
def forward(job: int) -> None:
    """Take blocks of rows until none is left."""
    item, channels, eps = next_item(job), field(job, CHANNELS), real_field(job, EPS)
    while item * BLOCK < field(job, ROWS):
        for row in range(item * BLOCK, min(item * BLOCK + BLOCK, field(job, ROWS))):
            place = row * channels * FLOAT
            scale = normalise_row(field(job, Y) + place, field(job, X) + place, field(job, WEIGHT), channels, eps)
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
            place, scale = row * channels * FLOAT, load_scalar(field(job, SCALES) + row * FLOAT)
            x, grad, grad_x = field(job, X) + place, field(job, GRAD_Y) + place, field(job, GRAD_X) + place
            normalise_row_back(grad_x, grad, x, field(job, WEIGHT), sums, scale, channels)
        item = next_item(job)


def rms_norm(x_RxD: Tensor, weight_D: Tensor, eps: float) -> Tensor:
    """See `retrieval_gap.kernels.rms_norm`."""
    return _RMSNorm.apply(x_RxD, weight_D, eps)


def _run(worker: Worker, tensors: dict[int, Tensor], eps: float, instructions: int) -> None:
    rows, channels, job = len(tensors[SCALES]), len(tensors[WEIGHT]), Job(FIELDS)
    job.put(ROWS, rows, channels)
    job.real(EPS, eps)
    job.flats(tensors)
    job.run(worker, jobs.thread_count(-(-rows // BLOCK), instructions * rows * channels / LANES))


class _RMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        x = x.contiguous()
        y, scales_R = torch.empty_like(x), x.new_empty(x.numel() // x.shape[-1])
        _run(forward, {X: x, Y: y, WEIGHT: weight, SCALES: scales_R}, eps, 12)
        ctx.save_for_backward(x, weight, scales_R)
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_y: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, scales_R = ctx.saved_tensors
        grad_x, partials_IxD = torch.empty_like(x), x.new_empty(-(-len(scales_R) // BLOCK), len(weight))
        tensors = {X: x, WEIGHT: weight, SCALES: scales_R, GRAD_Y: grad_y, GRAD_X: grad_x, GRAD_WEIGHT: partials_IxD}
        _run(backward, tensors, 0.0, 24)
        return grad_x, jobs.sum_in_order(partials_IxD), None
