"""Selective scan on CPU as a PyTorch function: allocates, describes the tensors to the kernels, adds up partial sums.

Legend: B batch, L time, D channels, N states per channel.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from retrieval_gap.kernels.parallel import thread_count
from retrieval_gap.kernels.selective_scan import cpu_backward, cpu_forward, naive
from retrieval_gap.kernels.selective_scan import cpu_tiles as tiles
from retrieval_gap.kernels.selective_scan.cpu_tiles import CHUNK, GROUP
from retrieval_gap.kernels.simd import LANE_BYTES, LANES

# Channels of an item. A function of the shapes alone: the partial sums of dB and dC must not depend on the machine.
BLOCK = 128


def refusal(tensors: list[Tensor]) -> str | None:
    """Why these tensors cannot go through the CPU kernel; None if they can."""
    for tensor in tensors:
        if tensor.device.type != "cpu":
            return f"it takes tensors on the CPU, and one is on {tensor.device}"
        if tensor.dtype != torch.float32:
            return f"it takes float32, and a tensor is {str(tensor.dtype).removeprefix('torch.')}"
    return None


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
    arguments = (
        x_BxLxD,
        delta_BxLxD,
        A_DxN,
        B_BxLxN,
        C_BxLxN,
        D_D,
        z_BxLxD,
        delta_bias_D,
        initial_state_BxDxN,
    )
    y_BxLxD, state_BxDxN = _SelectiveScan.apply(*arguments)
    return y_BxLxD, state_BxDxN


selective_scan_step = naive.selective_scan_step


def _rows(tensor: Tensor | None) -> Tensor | None:
    """The tensor itself if its last axis is contiguous, as the kernels need; a copy if not."""
    if tensor is None or tensor.stride(-1) == 1 or tensor.shape[-1] == 1:
        return tensor
    return tensor.contiguous()


class _Job:
    """The int64 array that tells a kernel where everything is. Tensors stay alive as long as it does."""

    def __init__(self, x_BxLxD: Tensor, states: int, scratch_bytes_of: Any) -> None:
        batch, length, channels = x_BxLxD.shape
        self.block = min(BLOCK, -(-channels // LANES) * LANES)
        self.blocks = -(-channels // self.block)
        self.padded = -(-states // GROUP) * GROUP
        # A step of one state costs about 25 operations.
        self.threads = thread_count(batch * self.blocks, 25.0 * batch * length * channels * states)
        # Whole cache lines, and an odd number of them: no two workers write to the same line.
        self.scratch_bytes = -(-scratch_bytes_of(self.block // LANES, self.padded) // 64) * 64 + 64
        self.scratch = torch.empty(self.threads * self.scratch_bytes + 64, dtype=torch.uint8)
        self.fields = np.zeros(tiles.FIELDS, np.int64)
        aligned = -(-self.scratch.data_ptr() // 64) * 64
        sizes = (batch, length, channels, states, self.block, aligned, self.scratch_bytes)
        self.fields[tiles.BATCH : tiles.SCRATCH_BYTES + 1] = sizes
        self._kept: list[Tensor] = []

    def flat(self, index: int, tensor: Tensor | None) -> None:
        if tensor is not None:
            tensor = tensor.contiguous()
            self._kept.append(tensor)
            self.fields[index] = tensor.data_ptr()

    def view(self, index: int, tensor: Tensor | None) -> None:
        if tensor is not None:
            strides = tensor.stride(0) * LANE_BYTES, tensor.stride(1) * LANE_BYTES
            self.fields[index : index + 3] = (tensor.data_ptr(), *strides)

    def inputs(
        self, x: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, z: Any, bias: Any
    ) -> None:
        for index, tensor in ((tiles.A, A), (tiles.D, D), (tiles.BIAS, bias)):
            self.flat(index, tensor)
        for index, tensor in ((tiles.X, x), (tiles.DELTA, delta), (tiles.B, B), (tiles.C, C), (tiles.Z, z)):
            self.view(index, tensor)


class _SelectiveScan(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x, delta, A, B, C, D, z, bias, state) -> tuple[Tensor, Tensor]:
        x, delta, B, C, z = (_rows(tensor) for tensor in (x, delta, B, C, z))
        (batch, length, channels), states = x.shape, A.shape[1]
        job = _Job(x, states, cpu_forward.scratch_bytes)
        y = x.new_empty(batch, length, channels)
        state_out = x.new_empty(batch, channels, states)
        job.inputs(x, delta, A, B, C, D, z, bias)
        job.flat(tiles.STATE, state)
        job.flat(tiles.STATE_OUT, state_out)
        job.view(tiles.Y, y)
        boundaries = None
        if any(ctx.needs_input_grad):
            boundaries = x.new_empty(batch * job.blocks * -(-length // CHUNK) * job.block * job.padded)
            job.flat(tiles.BOUNDARIES, boundaries)
        cpu_forward.forward.run(job.fields, job.threads)
        ctx.save_for_backward(x, delta, A, B, C, D, z, bias, boundaries)
        return y, state_out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_y: Tensor, grad_state_out: Tensor) -> tuple[Tensor | None, ...]:
        x, delta, A, B, C, D, z, bias, boundaries = ctx.saved_tensors
        (batch, length, channels), states = x.shape, A.shape[1]
        job = _Job(x, states, cpu_backward.scratch_bytes)
        grad_y = _rows(grad_y)
        grad_x, grad_delta = x.new_empty(2, batch, length, channels)
        grad_z = None if z is None else x.new_empty(batch, length, channels)
        grad_B, grad_C = x.new_empty(2, job.blocks * batch, length, states)
        grad_A, grad_state = x.new_empty(2, batch, channels, states)
        grad_D, grad_bias = x.new_empty(2, batch, channels)
        job.inputs(x, delta, A, B, C, D, z, bias)
        for index, tensor in (
            *(
                (tiles.BOUNDARIES, boundaries),
                (tiles.GRAD_STATE_OUT, grad_state_out),
                (tiles.GRAD_STATE, grad_state),
            ),
            *((tiles.GRAD_A, grad_A), (tiles.GRAD_D, grad_D), (tiles.GRAD_BIAS, grad_bias)),
        ):
            job.flat(index, tensor)
        for index, tensor in (
            *(
                (tiles.GRAD_Y, grad_y),
                (tiles.GRAD_X, grad_x),
                (tiles.GRAD_DELTA, grad_delta),
                (tiles.GRAD_Z, grad_z),
            ),
            *((tiles.GRAD_B, grad_B), (tiles.GRAD_C, grad_C)),
        ):
            job.view(index, tensor)
        cpu_backward.backward.run(job.fields, job.threads)
        partial_shape = (job.blocks, batch, length, states)
        return (
            *(grad_x, grad_delta, _sum_in_order(grad_A)),
            *(_sum_in_order(grad_B.view(partial_shape)), _sum_in_order(grad_C.view(partial_shape))),
            *(_sum_in_order(grad_D), grad_z, None if bias is None else _sum_in_order(grad_bias)),
            grad_state if ctx.needs_input_grad[8] else None,
        )


def _sum_in_order(partials: Tensor) -> Tensor:
    """Sum over the first axis, in its order: numpy uses one thread, PyTorch would split the sum among its threads."""
    return partials[0] if len(partials) == 1 else torch.from_numpy(partials.numpy().sum(axis=0))
