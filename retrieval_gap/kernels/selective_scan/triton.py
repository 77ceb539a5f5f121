"""Selective scan in Triton as a PyTorch function: decides how the work is cut, allocates, launches, adds partial sums.

Legend: B batch, L time, D channels, N states per channel.

On a CUDA device, or in Triton's interpreter (TRITON_INTERPRET=1) on CPU tensors, to check the kernels without one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from retrieval_gap.kernels.selective_scan.triton_backward import Gradients, scan_backward
from retrieval_gap.kernels.selective_scan.triton_forward import scan_forward
from retrieval_gap.kernels.selective_scan.triton_parts import Rows, View, Weights
from retrieval_gap.kernels.selective_scan.triton_plan import CHUNK, PART, STRIP, Plan
from retrieval_gap.kernels.selective_scan.triton_segments import carry, summarise_backward, summarise_forward


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
    return _scan(_plan(x_BxLxD, B_BxLxN, C_BxLxN), arguments, None)


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
    """A scan of one step."""
    x, delta, B, C = (tensor[:, None] for tensor in (x_BxD, delta_BxD, B_BxN, C_BxN))
    z = None if z_BxD is None else z_BxD[:, None]
    y_Bx1xD, new_state_BxDxN = selective_scan(x, delta, A_DxN, B, C, D_D, z, delta_bias_D, state_BxDxN)
    return y_Bx1xD[:, 0], new_state_BxDxN


def _plan(x: Tensor, B: Tensor, C: Tensor) -> Plan:
    batch, length, channels = x.shape
    places = (number for t in (B, C) for number in (t.data_ptr() // t.element_size(), t.stride(0), t.stride(1)))
    return Plan(
        batch=batch,
        length=length,
        channels=channels,
        states=B.shape[2],
        processors=_processors(x.device),
        unit=math.gcd(16, *places),
    )


def _processors(device: torch.device) -> int:
    """None in the interpreter, which runs one program after another."""
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 0


def _scan(plan: Plan, arguments: tuple[Tensor | None, ...], saved: Tensor | None) -> tuple[Tensor, Tensor]:
    """y and the last state; the state before each chunk goes to `saved` where it is given."""
    x, start = arguments[0], arguments[8]
    assert x is not None
    rows, weights = _rows_and_weights(arguments)
    y_BxLxD, final_BxNxD = x.new_empty(x.shape), _float32(x, plan.batch, plan.states, plan.channels)
    starts = None if start is None else _states_first(start)
    strip = 1 if plan.length == 1 else STRIP
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
            STRIP=strip,
            **plan.sizes(),
            **plan.times(strip),
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
            **plan.times(PART),
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
        **plan.times(STRIP),
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
        x, _, _, B, C, *_, start = arguments
        assert x is not None
        assert B is not None
        assert C is not None
        plan = _plan(x, B, C)
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
