"""Selective scan in Triton as a PyTorch function: decides how the work is cut, allocates, launches, adds partial sums.

Legend: B batch, L time, D channels, N states per channel.

On a CUDA device, or in Triton's interpreter (TRITON_INTERPRET=1) on CPU tensors, to check the kernels without one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from retrieval_gap.kernels.selective_scan.triton_backward import Gradients, scan_backward
from retrieval_gap.kernels.selective_scan.triton_forward import scan_forward
from retrieval_gap.kernels.selective_scan.triton_parts import Rows, View, Weights
from retrieval_gap.kernels.selective_scan.triton_segments import carry, summarise_backward, summarise_forward

# A program is one warp: a lane has a channel, and up to 16 of its states in registers. Where there are more states,
# lanes share a channel, so that a tile has TILE entries.
WARP = 32
TILE = 512
# The forward kernel loads STRIP steps ahead of what it computes, and saves a state every CHUNK steps: as many bytes as
# two tensors like x in float32. The backward kernel keeps the states of PART steps in registers.
STRIP = 4
CHUNK = 8
PART = 4
# Sequences are cut into segments where there is less than a warp for each of a processor's four schedulers, but into
# none shorter than this: a second pass over the inputs must pay for itself.
WARPS_PER_PROCESSOR = 4
SHORTEST_SEGMENT = 64
ONE_WARP = {"num_warps": 1, "num_stages": 1}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How a scan is cut into programs: a function of its sizes and of the number of processors, and so are all
    rounding errors."""

    batch: int
    length: int
    channels: int
    states: int
    processors: int

    @property
    def padded(self) -> int:
        return _power_of_two(self.states)

    @property
    def block(self) -> int:
        """Channels a program."""
        return max(2, min(WARP, TILE // self.padded))

    @property
    def blocks(self) -> int:
        return -(-self.channels // self.block)

    @property
    def chunks(self) -> int:
        return -(-self.length // CHUNK)

    @property
    def segment_length(self) -> int:
        """A multiple of CHUNK."""
        wanted = WARPS_PER_PROCESSOR * self.processors // (self.batch * self.blocks)
        segments = max(1, min(wanted, self.length // SHORTEST_SEGMENT))
        return max(1, -(-self.chunks // segments)) * CHUNK

    @property
    def segments(self) -> int:
        return max(1, -(-self.length // self.segment_length))

    def grid(self, segments: int) -> tuple[int]:
        return (self.batch * self.blocks * segments,)

    def sizes(self) -> dict[str, int]:
        """What every kernel is told of the sizes, and how many warps it has."""
        sizes = {"batch": self.batch, "channels": self.channels, "segments": self.segments}
        return sizes | {"STATES": self.states, "N": self.padded, "BLOCK": self.block} | ONE_WARP

    def times(self) -> dict[str, int]:
        """What kernels that walk through time are told beside that."""
        return {"length": self.length, "segment_length": self.segment_length}


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
    """Outputs in the type of x at every step, and the state after the last in float32.

    See `retrieval_gap.kernels.selective_scan`.
    """
    arguments = (x_BxLxD, delta_BxLxD, A_DxN, B_BxLxN, C_BxLxN, D_D, z_BxLxD, delta_bias_D, initial_state_BxDxN)
    if torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in arguments):
        y_BxLxD, state_BxDxN = _SelectiveScan.apply(*arguments)
        return y_BxLxD, state_BxDxN
    return _scan(_plan(x_BxLxD, A_DxN), arguments, None)


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
) -> tuple[Tensor, Tensor]:
    """A scan of one step."""
    x, delta, B, C = (tensor[:, None] for tensor in (x_BxD, delta_BxD, B_BxN, C_BxN))
    z = None if z_BxD is None else z_BxD[:, None]
    y_Bx1xD, new_state_BxDxN = selective_scan(x, delta, A_DxN, B, C, D_D, z, delta_bias_D, state_BxDxN)
    return y_Bx1xD[:, 0], new_state_BxDxN


def _plan(x: Tensor, A: Tensor) -> Plan:
    batch, length, channels = x.shape
    return Plan(batch=batch, length=length, channels=channels, states=A.shape[1], processors=_processors(x.device))


def _processors(device: torch.device) -> int:
    """None in the interpreter, which runs one program after another."""
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 0


def _power_of_two(n: int) -> int:
    return 1 << max(0, n - 1).bit_length()


def _scan(plan: Plan, arguments: tuple[Tensor | None, ...], saved: Tensor | None) -> tuple[Tensor, Tensor]:
    """y and the last state; the state before each chunk goes to `saved` where it is given."""
    x, start = arguments[0], arguments[8]
    assert x is not None
    rows, weights = _rows_and_weights(arguments)
    y_BxLxD, final_BxNxD = x.new_empty(x.shape), _float32(x, plan.batch, plan.states, plan.channels)
    starts = None if start is None else _states_first(start)
    with torch.cuda.device_of(x):
        if plan.segments > 1:
            starts = _carried(plan, summarise_forward, rows, weights, None, starts)
        scan_forward[plan.grid(plan.segments)](
            rows=rows,
            weights=weights,
            starts=starts,
            y=_view(y_BxLxD),
            final=final_BxNxD,
            saved=saved,
            CHUNK=CHUNK,
            STRIP=1 if plan.length == 1 else STRIP,
            **plan.sizes(),
            **plan.times(),
        )
    return y_BxLxD, final_BxNxD.mT


def _scan_back(
    plan: Plan, saved_tensors: tuple[Tensor, ...], grad_y: Tensor, grad_final: Tensor | None, grad_start: Tensor | None
) -> Gradients:
    """The gradients of x, delta and z, and parts of the others; `grad_start` is filled where it is given."""
    *arguments, saved = saved_tensors
    x, delta, z = arguments[0], arguments[1], arguments[6]
    rows, weights = _rows_and_weights(arguments)
    grad_x, grad_delta, grad_z = (None if t is None else _view(t.new_empty(t.shape)) for t in (x, delta, z))
    programs = plan.batch * plan.segments
    grads = Gradients(
        x=grad_x,
        delta=grad_delta,
        z=grad_z,
        C_and_B=_view(_float32(x, plan.blocks * plan.batch, plan.length, 2 * plan.states)),
        A=_float32(x, programs, plan.states, plan.channels),
        D=_float32(x, programs, plan.channels),
        bias=_float32(x, programs, plan.channels),
    )
    with torch.cuda.device_of(x):
        grad_ends = None if grad_final is None else _states_first(grad_final)
        if plan.segments > 1:
            grad_ends = _carried(plan, summarise_backward, rows, weights, _view(grad_y), grad_ends)
        scan_backward[plan.grid(plan.segments)](
            rows=rows,
            weights=weights,
            saved=saved,
            grad_y=_view(grad_y),
            grad_ends=grad_ends,
            grads=grads,
            grad_start=grad_start,
            CHUNK=CHUNK,
            PART=PART,
            **plan.sizes(),
            **plan.times(),
        )
    return grads


def _carried(
    plan: Plan, summarise: Any, rows: Rows, weights: Weights, grad_y: View | None, outer: Tensor | None
) -> Tensor:
    """The state that each segment begins with, or the gradient of the one it ends with (B, segments, D, N)."""
    shape = (plan.batch, plan.segments, plan.states, plan.channels)
    local, inner = _float32(weights.A, *shape), _float32(weights.A, *shape)
    total = _float32(weights.A, plan.batch, plan.segments, plan.channels)
    summarise[plan.grid(plan.segments)](
        rows=rows,
        weights=weights,
        grad_y=grad_y,
        local=local,
        total=total,
        STRIP=STRIP,
        **plan.sizes(),
        **plan.times(),
    )
    carry[plan.grid(1)](
        weights=weights,
        local=local,
        total=total,
        outer=outer,
        inner=inner,
        REVERSE=grad_y is not None,
        **plan.sizes(),
    )
    return inner


def _rows_and_weights(arguments: Sequence[Tensor | None]) -> tuple[Rows, Weights]:
    x, delta, A, B, C, D, z, bias = arguments[:8]
    rows = Rows(*(None if t is None else _view(t) for t in (x, delta, B, C, z)))
    assert A is not None
    return rows, Weights(A=_states_first(A), D=D, bias=bias)


def _states_first(matrix: Tensor) -> Tensor:
    """(..., D, N) with channels side by side in memory, as the kernels have it: our own states are so, at no cost."""
    return matrix.mT.contiguous()


def _view(tensor: Tensor) -> View:
    return View(data=tensor, sequence=tensor.stride(0), time=tensor.stride(1))


def _float32(like: Tensor, *shape: int) -> Tensor:
    return like.new_empty(shape, dtype=torch.float32)


class _SelectiveScan(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *arguments: Tensor | None) -> tuple[Tensor, Tensor]:
        x, A, start = arguments[0], arguments[2], arguments[8]
        assert x is not None
        assert A is not None
        plan = _plan(x, A)
        saved = _float32(x, plan.batch, plan.chunks, plan.states, plan.channels)
        ctx.save_for_backward(*arguments[:8], saved)
        ctx.plan, ctx.start_dtype = plan, None if start is None else start.dtype
        ctx.set_materialize_grads(False)
        return _scan(plan, arguments, saved)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_y: Tensor | None, grad_final: Tensor | None) -> tuple[Tensor | None, ...]:
        x, _, A, B, C, D, z, bias, _ = ctx.saved_tensors
        plan = ctx.plan
        grad_y = torch.zeros_like(x) if grad_y is None else grad_y
        if grad_y.stride(-1) != 1:
            grad_y = grad_y.contiguous()
        grad_start = _float32(x, plan.batch, plan.states, plan.channels) if ctx.needs_input_grad[8] else None
        grads = _scan_back(plan, ctx.saved_tensors, grad_y, grad_final, grad_start)
        C_and_B = grads.C_and_B.data.view(plan.blocks, plan.batch, plan.length, 2, plan.states)
        grad_C, grad_B = C_and_B.sum(0).unbind(2)
        return (
            *(grads.x.data, grads.delta.data, _sum(grads.A, A.mT).mT, grad_B.to(B.dtype), grad_C.to(C.dtype)),
            *(_sum(grads.D, D), None if z is None else grads.z.data, None if bias is None else _sum(grads.bias, bias)),
            None if grad_start is None else grad_start.mT.to(ctx.start_dtype),
        )


def _sum(parts: Tensor, like: Tensor) -> Tensor:
    return parts.sum(0).to(like.dtype)
