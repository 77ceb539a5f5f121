"""Causal depthwise convolution of width 4 on CPU as a PyTorch function.

Legend: B batch, L time, D channels, K = 4 the width of the filter; a state is the last 3 inputs, in time's order.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from retrieval_gap.kernels.causal_conv1d import cpu_kernels as kernels
from retrieval_gap.kernels.causal_conv1d.naive import last_inputs
from retrieval_gap.kernels.cpu.jobs import Job, Worker, sum_in_order, thread_count


def causal_conv1d(
    x_BxLxD: Tensor, weight_DxK: Tensor, bias_D: Tensor, initial_state_BxKxD: Tensor | None
) -> tuple[Tensor, Tensor]:
    """The outputs, and the last inputs. See `retrieval_gap.kernels.causal_conv1d`."""
    y_BxLxD = _CausalConv1d.apply(x_BxLxD, weight_DxK, bias_D, initial_state_BxKxD)
    return y_BxLxD, last_inputs(x_BxLxD, initial_state_BxKxD, kernels.BEFORE)


def _run(job: Job, worker: Worker, x: Tensor, weight: Tensor, bias: Tensor, state: Tensor | None) -> None:
    batch, length, channels = x.shape
    job.put(kernels.BATCH, *x.shape)
    for index, tensor in ((kernels.FILTER, weight.t()), (kernels.BIAS, bias), (kernels.STATE, state)):
        job.flat(index, tensor)
    job.rows(kernels.X, x)
    # A forward step of 16 channels takes about 40 vector instructions, a backward step 60.
    job.run(worker, thread_count(batch, 3 * batch * length * channels), kernels.scratch_bytes(length, channels))


class _CausalConv1d(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, state: Tensor | None) -> Tensor:
        y, job = x.new_empty(x.shape), Job(kernels.FIELDS)
        job.rows(kernels.Y, y)
        _run(job, kernels.forward, x, weight, bias, state)
        ctx.save_for_backward(x, weight, bias, state)
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_y: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias, state = ctx.saved_tensors
        batch, _, channels = x.shape
        grad_x, grad_state = x.new_empty(x.shape), x.new_empty(batch, kernels.BEFORE, channels)
        grad_filter, job = x.new_empty(batch, kernels.WIDTH + 1, channels), Job(kernels.FIELDS)
        job.flat(kernels.GRAD_FILTER, grad_filter)
        job.flat(kernels.GRAD_STATE, grad_state)
        job.rows(kernels.GRAD_Y, grad_y)
        job.rows(kernels.GRAD_X, grad_x)
        _run(job, kernels.backward, x, weight, bias, state)
        of_filter = sum_in_order(grad_filter)
        return grad_x, of_filter[:-1].t(), of_filter[-1], grad_state if ctx.needs_input_grad[3] else None
