"""RMSNorm on CPU as a PyTorch function.

Legend: R rows (any number of leading axes), D channels, a multiple of 16.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from retrieval_gap.kernels.cpu import LANES
from retrieval_gap.kernels.cpu.jobs import Job, Worker, sum_in_order, thread_count
from retrieval_gap.kernels.rms_norm import cpu_kernels as kernels


def rms_norm(x_RxD: Tensor, weight_D: Tensor, eps: float) -> Tensor:
    """See `retrieval_gap.kernels.rms_norm`."""
    return _RMSNorm.apply(x_RxD, weight_D, eps)


def _run(job: Job, worker: Worker, x_RxD: Tensor, instructions: int) -> None:
    rows, channels = x_RxD.shape
    job.put(kernels.ROWS, rows, channels)
    items = -(-rows // kernels.BLOCK)
    job.run(worker, thread_count(items, instructions * rows * channels / LANES))


class _RMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        x_RxD, y = x.reshape(-1, x.shape[-1]), x.new_empty(x.shape)
        scale_R, job = x.new_empty(len(x_RxD)), Job(kernels.FIELDS)
        job.flats({kernels.EPS: x.new_tensor(eps), kernels.WEIGHT: weight, kernels.SCALES: scale_R})
        for index, tensor in ((kernels.X, x_RxD), (kernels.Y, y.view(x_RxD.shape))):
            job.rows(index, tensor)
        _run(job, kernels.forward, x_RxD, 12)
        ctx.save_for_backward(x, weight, scale_R)
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_y: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, scale_R = ctx.saved_tensors
        x_RxD = x.reshape(-1, x.shape[-1])
        grad_x_RxD, job = x.new_empty(x_RxD.shape), Job(kernels.FIELDS)
        partials = x.new_empty(-(-len(x_RxD) // kernels.BLOCK), x.shape[-1])
        job.flats({kernels.WEIGHT: weight, kernels.SCALES: scale_R, kernels.GRAD_WEIGHT: partials})
        for index, tensor in (
            (kernels.X, x_RxD),
            (kernels.GRAD_Y, grad_y.reshape(x_RxD.shape)),
            (kernels.GRAD_X, grad_x_RxD),
        ):
            job.rows(index, tensor)
        _run(job, kernels.backward, x_RxD, 24)
        return grad_x_RxD.view(x.shape), sum_in_order(partials), None
