"""Selective scan on CPU as a PyTorch function: allocates, tells the kernels where everything is, adds partial sums.

Legend: B batch, L time, D channels, N states per channel.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from retrieval_gap.kernels.cpu.jobs import Job, sum_in_order, thread_count
from retrieval_gap.kernels.cpu.lanes import LANES
from retrieval_gap.kernels.selective_scan import cpu_backward, cpu_forward, cpu_step, naive
from retrieval_gap.kernels.selective_scan import cpu_tiles as tiles
from retrieval_gap.kernels.selective_scan.cpu_tiles import CHUNK, GROUP


def selective_scan(
    x_BxLxD: Tensor,
    delta_BxLxD: Tensor,
    A_DxN: Tensor,
    B_BxLxN: Tensor,
    C_BxLxN: Tensor,
    D_D: Tensor,
    z_BxLxD: Tensor | None = None,
    delta_bias_D: Tensor | None = None,
    initial_state_BxDxN: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Outputs at every step, and the state after the last. See `retrieval_gap.kernels.selective_scan`."""
    y_BxLxD, state_BxDxN = _SelectiveScan.apply(
        x_BxLxD, delta_BxLxD, A_DxN, B_BxLxN, C_BxLxN, D_D, z_BxLxD, delta_bias_D, initial_state_BxDxN
    )
    return y_BxLxD, state_BxDxN


def selective_scan_step(
    x_BxD: Tensor,
    delta_BxD: Tensor,
    A_DxN: Tensor,
    B_BxN: Tensor,
    C_BxN: Tensor,
    D_D: Tensor,
    z_BxD: Tensor | None,
    delta_bias_D: Tensor | None,
    state_BxDxN: Tensor,
    reuse_state: bool = False,
) -> tuple[Tensor, Tensor]:
    """One step; in plain PyTorch where gradients are wanted, for they are not what decoding needs."""
    arguments = (x_BxD, delta_BxD, A_DxN, B_BxN, C_BxN, D_D, z_BxD, delta_bias_D, state_BxDxN)
    if torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in arguments):
        return naive.selective_scan_step(*arguments)
    return cpu_step.selective_scan_step(*arguments, reuse_state)


class _Plan:
    """How a scan of these sizes is cut into items. A function of the sizes alone, and so are all rounding errors."""

    def __init__(self, batch: int, length: int, channels: int, states: int) -> None:
        # Few sequences are cut into narrower blocks, to have work for every thread.
        widest = next((block for block in (128, 64) if batch * -(-channels // block) >= 8), 32)
        self.block = min(widest, -(-channels // LANES) * LANES)
        self.blocks = -(-channels // self.block)
        self.vectors = self.block // LANES
        self.padded = -(-states // GROUP) * GROUP
        self.boundaries = batch * self.blocks * -(-length // CHUNK) * self.block * self.padded
        self.sizes = (batch, length, channels, states, self.block)
        self.threads = thread_count(batch * self.blocks, batch * length * channels * (states + 8))


def _describe_inputs(job: Job, plan: _Plan, inputs: tuple[Tensor | None, ...]) -> None:
    x, delta, A, B, C, D, z, bias = inputs
    job.put(tiles.BATCH, *plan.sizes)
    for index, tensor in ((tiles.A, A), (tiles.D, D), (tiles.BIAS, bias)):
        job.flat(index, tensor)
    for index, tensor in ((tiles.X, x), (tiles.DELTA, delta), (tiles.B, B), (tiles.C, C), (tiles.Z, z)):
        job.rows(index, tensor)


class _SelectiveScan(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *arguments: Tensor | None) -> tuple[Tensor, Tensor]:
        x, state = arguments[0], arguments[8]
        A = arguments[2]
        assert x is not None
        assert A is not None
        (batch, length, channels), states = x.shape, A.shape[1]
        plan, job = _Plan(batch, length, channels, states), Job(tiles.FIELDS)
        y_BxLxD, state_BxDxN = x.new_empty(batch, length, channels), x.new_empty(batch, channels, states)
        boundaries = x.new_empty(plan.boundaries) if any(ctx.needs_input_grad) else None
        _describe_inputs(job, plan, arguments[:8])
        job.flat(tiles.STATE, state)
        job.flat(tiles.STATE_OUT, state_BxDxN)
        job.flat(tiles.BOUNDARIES, boundaries)
        job.rows(tiles.Y, y_BxLxD)
        job.run(cpu_forward.forward, plan.threads, cpu_forward.scratch_bytes(plan.vectors, plan.padded))
        ctx.save_for_backward(*arguments[:8], boundaries)
        ctx.plan = plan
        return y_BxLxD, state_BxDxN

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_y_BxLxD: Tensor, grad_state_out_BxDxN: Tensor) -> tuple[Tensor | None, ...]:
        *inputs, boundaries = ctx.saved_tensors
        x, z, bias = inputs[0], inputs[6], inputs[7]
        plan, job = ctx.plan, Job(tiles.FIELDS)
        batch, length, channels, states, _ = plan.sizes
        grad_x, grad_delta, grad_z = x.new_empty(3, batch, length, channels)
        partial_B, partial_C = x.new_empty(2, plan.blocks, batch, length, states)
        partial_A, grad_state = x.new_empty(2, batch, channels, states)
        partial_D, partial_bias = x.new_empty(2, batch, channels)
        _describe_inputs(job, plan, inputs)
        job.flat(tiles.BOUNDARIES, boundaries)
        job.flat(tiles.GRAD_STATE_OUT, grad_state_out_BxDxN)
        job.flat(tiles.GRAD_STATE, grad_state)
        for index, tensor in (
            (tiles.GRAD_A, partial_A),
            (tiles.GRAD_D, partial_D),
            (tiles.GRAD_BIAS, partial_bias),
        ):
            job.flat(index, tensor)
        for index, tensor in ((tiles.GRAD_B, partial_B), (tiles.GRAD_C, partial_C)):
            job.rows(index, tensor.flatten(0, 1))
        for index, tensor in (
            (tiles.GRAD_Y, grad_y_BxLxD),
            (tiles.GRAD_X, grad_x),
            (tiles.GRAD_DELTA, grad_delta),
        ):
            job.rows(index, tensor)
        job.rows(tiles.GRAD_Z, grad_z)
        job.run(cpu_backward.backward, plan.threads, cpu_backward.scratch_bytes(plan.vectors, plan.padded))
        return (
            *(
                grad_x,
                grad_delta,
                sum_in_order(partial_A),
                sum_in_order(partial_B),
                sum_in_order(partial_C),
            ),
            *(sum_in_order(partial_D), None if z is None else grad_z),
            *(
                None if bias is None else sum_in_order(partial_bias),
                grad_state if ctx.needs_input_grad[8] else None,
            ),
        )
