"""RMSNorm and SwiGLU on CPU as PyTorch functions.

Legend: R rows (any number of leading axes), D channels, H half of the channels.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from retrieval_gap.kernels.cpu.jobs import Job, Worker, sum_in_order, thread_count
from retrieval_gap.kernels.fused import cpu_kernels as kernels


def rms_norm(x_RxD: Tensor, weight_D: Tensor, eps: float) -> Tensor:
    """See `retrieval_gap.kernels.fused`."""
    return _RMSNorm.apply(x_RxD, weight_D, eps)


def swiglu(gate_up_Rx2H: Tensor) -> Tensor:
    """See `retrieval_gap.kernels.fused`."""
    return _SwiGLU.apply(gate_up_Rx2H)


def _run(job: Job, worker: Worker, rows: int, channels: int, instructions: int) -> None:
    items = -(-rows // kernels.BLOCK)
    job.put(kernels.ROWS, rows, channels)
    job.run(worker, thread_count(items, instructions * rows * channels / 16), kernels.scratch_bytes(channels))


class _RMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        x_RxD, y_RxD = x.reshape(-1, x.shape[-1]), x.new_empty(x.shape).view(-1, x.shape[-1])
        rows, channels = x_RxD.shape
        scale_R, job = x.new_empty(rows), Job(kernels.FIELDS)
        for index, tensor in ((kernels.EPS, x.new_tensor(eps)), (kernels.WEIGHT, weight), (kernels.SCALES, scale_R)):
            job.flat(index, tensor)
        for index, tensor in ((kernels.X, x_RxD), (kernels.Y, y_RxD)):
            job.rows(index, tensor)
        _run(job, kernels.rms_norm_forward, rows, channels, 12)
        ctx.save_for_backward(x, weight, scale_R)
        return y_RxD.view(x.shape)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_y: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, scale_R = ctx.saved_tensors
        x_RxD, grad_y_RxD = x.reshape(-1, x.shape[-1]), grad_y.reshape(-1, x.shape[-1])
        rows, channels = x_RxD.shape
        grad_x_RxD, job = x.new_empty(rows, channels), Job(kernels.FIELDS)
        partials = x.new_empty(-(-rows // kernels.BLOCK), channels)
        for index, tensor in (
            (kernels.WEIGHT, weight),
            (kernels.SCALES, scale_R),
            (kernels.GRAD_WEIGHT, partials),
        ):
            job.flat(index, tensor)
        for index, tensor in ((kernels.X, x_RxD), (kernels.GRAD_Y, grad_y_RxD), (kernels.GRAD_X, grad_x_RxD)):
            job.rows(index, tensor)
        _run(job, kernels.rms_norm_backward, rows, channels, 24)
        return grad_x_RxD.view(x.shape), sum_in_order(partials), None


class _SwiGLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gate_up: Tensor) -> Tensor:
        half = gate_up.shape[-1] // 2
        gate_up_Rx2H = gate_up.reshape(-1, 2 * half)
        y_RxH, job = gate_up.new_empty(len(gate_up_Rx2H), half), Job(kernels.FIELDS)
        for index, tensor in ((kernels.X, gate_up_Rx2H), (kernels.Y, y_RxH)):
            job.rows(index, tensor)
        _run(job, kernels.swiglu_forward, len(y_RxH), half, 35)
        ctx.save_for_backward(gate_up)
        return y_RxH.view(*gate_up.shape[:-1], half)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_y: Tensor) -> Tensor:
        (gate_up,) = ctx.saved_tensors
        half = gate_up.shape[-1] // 2
        gate_up_Rx2H, grad_y_RxH = gate_up.reshape(-1, 2 * half), grad_y.reshape(-1, half)
        grad_Rx2H, job = gate_up.new_empty(gate_up_Rx2H.shape), Job(kernels.FIELDS)
        for index, tensor in ((kernels.X, gate_up_Rx2H), (kernels.GRAD_Y, grad_y_RxH), (kernels.GRAD_X, grad_Rx2H)):
            job.rows(index, tensor)
        _run(job, kernels.swiglu_backward, len(grad_y_RxH), half, 45)
        return grad_Rx2H.view(gate_up.shape)
