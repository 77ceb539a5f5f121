"""Selective scan on CPU as a PyTorch function: allocates, passes addresses to the kernels, adds partial sums.

Legend: B batch, L time, D channels, N states per channel.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from retrieval_gap.kernels.cpu import LANES
from retrieval_gap.kernels.cpu.elementary import LOG2_E
from retrieval_gap.kernels.cpu.jobs import Job, sum_in_order, thread_count
from retrieval_gap.kernels.selective_scan import cpu_backward, cpu_forward
from retrieval_gap.kernels.selective_scan import cpu_tiles as tiles
from retrieval_gap.kernels.selective_scan.cpu_tiles import CHUNK, GROUP
from retrieval_gap.kernels.selective_scan.inputs import ScanInputs


def selective_scan(inputs: ScanInputs) -> tuple[Tensor, Tensor]:
    """Outputs at every step, and the state after the last. See `retrieval_gap.kernels.selective_scan`."""
    channels, states = inputs.A.shape
    y, state = _SelectiveScan.apply(*_padded(inputs))
    return (y, state) if state.shape[1:] == (channels, states) else (y[..., :channels], state[:, :channels, :states])


def _padded(inputs: ScanInputs) -> ScanInputs:
    """Pad with zeros after the last channel, up to whole vectors, and after the last state, to a multiple of GROUP."""
    channels, states = (-size % least for size, least in zip(inputs.A.shape, (LANES, GROUP), strict=True))
    if channels == states == 0:
        return inputs
    x, delta, D = (pad(tensor, (0, channels)) for tensor in (inputs.x, inputs.delta, inputs.D))
    A, B, C = (pad(t, (0, states, 0, n)) for t, n in ((inputs.A, channels), (inputs.B, 0), (inputs.C, 0)))
    z, bias = (None if tensor is None else pad(tensor, (0, channels)) for tensor in (inputs.z, inputs.delta_bias))
    state = None if inputs.state is None else pad(inputs.state, (0, states, 0, channels))
    return ScanInputs(x, delta, A, B, C, D, z, bias, state)


class _Plan:
    """How a scan is cut into items. It depends on the sizes alone, and so do all rounding errors."""

    def __init__(self, x: Tensor, A: Tensor) -> None:
        batch, length, channels = x.shape
        states = A.shape[1]
        # If there are few sequences, blocks are narrower, so that every thread has work.
        block = min(next((block for block in (128, 64) if batch * -(-channels // block) >= 8), 32), channels)
        self.blocks = -(-channels // block)
        self.boundaries = batch * self.blocks * -(-length // CHUNK) * block * states
        self.sizes = (batch, length, channels, states, block)
        self.threads = thread_count(batch * self.blocks, batch * length * channels * (states + 8))


def _describe_inputs(plan: _Plan, inputs: tuple[Tensor | None, ...]) -> Job:
    x, delta, A, B, C, D, z, bias = inputs
    assert A is not None
    job = Job(tiles.FIELDS)
    job.put(tiles.BATCH, *plan.sizes)
    job.flats({tiles.A: (A * float(LOG2_E)).t(), tiles.D: D, tiles.BIAS: bias})
    job.views({tiles.X: x, tiles.DELTA: delta, tiles.B: B, tiles.C: C, tiles.Z: z})
    return job


class _SelectiveScan(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *given: Tensor) -> tuple[Tensor, Tensor]:
        x, A, state = given[0], given[2], given[8]
        plan = _Plan(x, A)
        y_BxLxD, state_BxNxD = x.new_empty(x.shape), x.new_empty(len(x), *A.t().shape)
        boundaries = x.new_empty(plan.boundaries) if any(ctx.needs_input_grad) else None
        job = _describe_inputs(plan, given[:8])
        job.flats({tiles.STATE: None if state is None else state.mT, tiles.STATE_OUT: state_BxNxD})
        job.flats({tiles.BOUNDARIES: boundaries})
        job.views({tiles.Y: y_BxLxD})
        job.run(cpu_forward.forward, plan.threads, cpu_forward.scratch_bytes(plan.sizes[4] // LANES, A.shape[1]))
        ctx.save_for_backward(*given[:8], boundaries)
        ctx.plan = plan
        return y_BxLxD, state_BxNxD.mT

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_y_BxLxD: Tensor, grad_state_out_BxDxN: Tensor) -> tuple[Tensor | None, ...]:
        *inputs, boundaries = ctx.saved_tensors
        x, z, bias = inputs[0], inputs[6], inputs[7]
        plan, job = ctx.plan, _describe_inputs(ctx.plan, inputs)
        batch, length, channels, states, block = plan.sizes
        grad_x, grad_delta, grad_z = x.new_empty(3, batch, length, channels)
        partial_B, partial_C = x.new_empty(2, plan.blocks, batch, length, states)
        partial_A, grad_state = x.new_empty(2, batch, states, channels)
        partial_D, partial_bias = x.new_empty(2, batch, channels)
        job.flats({tiles.BOUNDARIES: boundaries, tiles.GRAD_STATE_OUT: grad_state_out_BxDxN.mT})
        job.flats({tiles.GRAD_STATE: grad_state, tiles.GRAD_A: partial_A})
        job.flats({tiles.GRAD_D: partial_D, tiles.GRAD_BIAS: partial_bias})
        job.views({tiles.GRAD_B: partial_B.flatten(0, 1), tiles.GRAD_C: partial_C.flatten(0, 1)})
        job.views({tiles.GRAD_Y: grad_y_BxLxD, tiles.GRAD_X: grad_x})
        job.views({tiles.GRAD_DELTA: grad_delta, tiles.GRAD_Z: grad_z})
        job.run(cpu_backward.backward, plan.threads, cpu_backward.scratch_bytes(block // LANES, states))
        parts = (partial_A.mT, partial_B, partial_C, partial_D)
        grad_bias = None if bias is None else sum_in_order(partial_bias)
        grad_state = grad_state.mT if ctx.needs_input_grad[8] else None
        return grad_x, grad_delta, *map(sum_in_order, parts), None if z is None else grad_z, grad_bias, grad_state
