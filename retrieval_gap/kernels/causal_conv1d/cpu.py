"""Causal depthwise convolution of width 4 on CPU as a PyTorch function.

Legend: B batch, L time, D channels, K = 4 the width of the filter; a state is the last 3 inputs, in time's order.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from retrieval_gap.kernels.causal_conv1d import cpu_kernels as kernels
from retrieval_gap.kernels.cpu.jobs import Job, sum_in_order, thread_count


def causal_conv1d(
    x_BxLxD: Tensor, weight_DxK: Tensor, bias_D: Tensor, initial_state_BxDxK: Tensor | None, with_silu: bool
) -> Tensor:
    """The outputs. See `retrieval_gap.kernels.causal_conv1d`."""
    return _CausalConv1d.apply(x_BxLxD, weight_DxK, bias_D, initial_state_BxDxK, with_silu)


def _describe(x: Tensor, weight: Tensor, bias: Tensor, state: Tensor | None, with_silu: bool) -> Job:
    job = Job(kernels.FIELDS)
    job.put(kernels.BATCH, *x.shape, int(with_silu))
    for index, tensor in ((kernels.WEIGHT, weight), (kernels.BIAS, bias), (kernels.STATE, state)):
        job.flat(index, tensor)
    job.rows(kernels.X, x)
    return job


def _run(job: Job, worker: Any, x: Tensor) -> None:
    batch, length, channels = x.shape
    items = batch * -(-channels // kernels.BLOCK)
    # A forward step of 16 channels takes about 40 vector instructions, a backward step 60.
    job.run(worker, thread_count(items, 3 * batch * length * channels), kernels.SCRATCH_BYTES)


class _CausalConv1d(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, state: Tensor | None, with_silu: bool) -> Tensor:
        y_BxLxD = x.new_empty(x.shape)
        job = _describe(x, weight, bias, state, with_silu)
        job.rows(kernels.Y, y_BxLxD)
        _run(job, kernels.forward, x)
        ctx.save_for_backward(x, weight, bias, state)
        ctx.with_silu = with_silu
        return y_BxLxD

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_y_BxLxD: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias, state = ctx.saved_tensors
        batch, _, channels = x.shape
        grad_x_BxLxD, grad_weight_BxDxK = x.new_empty(x.shape), x.new_empty(batch, channels, kernels.WIDTH)
        grad_bias_BxD, grad_state_BxDxK = x.new_empty(batch, channels), x.new_empty(batch, channels, kernels.WIDTH - 1)
        job = _describe(x, weight, bias, state, ctx.with_silu)
        for index, tensor in (
            (kernels.GRAD_WEIGHT, grad_weight_BxDxK),
            (kernels.GRAD_BIAS, grad_bias_BxD),
            (kernels.GRAD_STATE, grad_state_BxDxK),
        ):
            job.flat(index, tensor)
        job.rows(kernels.GRAD_Y, grad_y_BxLxD)
        job.rows(kernels.GRAD_X, grad_x_BxLxD)
        _run(job, kernels.backward, x)
        grad_state = grad_state_BxDxK if ctx.needs_input_grad[3] else None
        return grad_x_BxLxD, sum_in_order(grad_weight_BxDxK), sum_in_order(grad_bias_BxD), grad_state, None
