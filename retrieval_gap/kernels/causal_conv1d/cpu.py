"""Causal depthwise convolution of width 4 on CPU as a PyTorch function.

Legend: B batch, L time, D channels, K = 4 the width of the filter; a state is the last 3 inputs, in time's order.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from retrieval_gap.kernels.causal_conv1d import cpu_kernels as kernels
from retrieval_gap.kernels.causal_conv1d import cpu_step
from retrieval_gap.kernels.cpu.jobs import Job, sum_in_order, thread_count


def causal_conv1d(
    x_BxLxD: Tensor, weight_DxK: Tensor, bias_D: Tensor, initial_state_BxDxK: Tensor | None, with_silu: bool
) -> tuple[Tensor, Tensor]:
    """The outputs, and the last inputs. See `retrieval_gap.kernels.causal_conv1d`."""
    return _CausalConv1d.apply(x_BxLxD, weight_DxK, bias_D, initial_state_BxDxK, with_silu)


def causal_conv1d_step(
    x_BxD: Tensor, weight_DxK: Tensor, bias_D: Tensor, state_BxDxK: Tensor, with_silu: bool
) -> tuple[Tensor, Tensor]:
    """One step, and the state after it."""
    arguments = (x_BxD, weight_DxK, bias_D, state_BxDxK)
    if not (torch.is_grad_enabled() and any(tensor.requires_grad for tensor in arguments)):
        return cpu_step.causal_conv1d_step(*arguments, with_silu)
    y_BxLxD, new_state_BxDxK = causal_conv1d(x_BxD[:, None], weight_DxK, bias_D, state_BxDxK, with_silu)
    return y_BxLxD[:, 0], new_state_BxDxK


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
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, state: Tensor | None, with_silu: bool
    ) -> tuple[Tensor, Tensor]:
        y_BxLxD, state_out_BxDxK = x.new_empty(x.shape), x.new_empty(len(x), x.shape[2], kernels.WIDTH - 1)
        job = _describe(x, weight, bias, state, with_silu)
        job.flat(kernels.STATE_OUT, state_out_BxDxK)
        job.rows(kernels.Y, y_BxLxD)
        _run(job, kernels.forward, x)
        ctx.save_for_backward(x, weight, bias, state)
        ctx.with_silu = with_silu
        ctx.set_materialize_grads(False)
        return y_BxLxD, state_out_BxDxK

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(
        ctx: Any, grad_y_BxLxD: Tensor | None, grad_state_out_BxDxK: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        x, weight, bias, state = ctx.saved_tensors
        if grad_y_BxLxD is None:
            grad_y_BxLxD = torch.zeros_like(x)
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
        if grad_state_out_BxDxK is not None:
            _add_to_last_inputs(grad_x_BxLxD, grad_state_BxDxK, grad_state_out_BxDxK)
        grad_state = grad_state_BxDxK if ctx.needs_input_grad[3] else None
        return grad_x_BxLxD, sum_in_order(grad_weight_BxDxK), sum_in_order(grad_bias_BxD), grad_state, None


def _add_to_last_inputs(grad_x_BxLxD: Tensor, grad_state_BxDxK: Tensor, grad_state_out_BxDxK: Tensor) -> None:
    """The state after the last step is a copy of the last inputs and, for short sequences, of the state before."""
    length, before = grad_x_BxLxD.shape[1], grad_state_BxDxK.shape[2]
    copied = min(length, before)
    grad_x_BxLxD[:, length - copied :] += grad_state_out_BxDxK[:, :, before - copied :].transpose(1, 2)
    grad_state_BxDxK[:, :, copied:] += grad_state_out_BxDxK[:, :, : before - copied]
