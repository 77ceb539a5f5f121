"""Selective scan in Triton as a PyTorch function: decides how the work is cut, allocates, launches, adds partial sums.

Legend: B batch, L time, D channels, N states per channel.

Runs on a CUDA device, or on CPU tensors in Triton's interpreter (TRITON_INTERPRET=1), to check the kernels without one.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from retrieval_gap.kernels.selective_scan.inputs import ScanInputs
from retrieval_gap.kernels.selective_scan.triton_backward import Gradients, scan_backward
from retrieval_gap.kernels.selective_scan.triton_forward import scan_forward
from retrieval_gap.kernels.selective_scan.triton_parts import Rows, View, Weights
from retrieval_gap.kernels.selective_scan.triton_plan import PART, STRIP, ScanPlan
from retrieval_gap.kernels.selective_scan.triton_segments import carry, summarise


def selective_scan(inputs: ScanInputs) -> tuple[Tensor, Tensor]:
    """Outputs at every step in the dtype of x, and the state after the last in float32.

    See `retrieval_gap.kernels.selective_scan`.
    """
    if torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in inputs):
        y_BxLxD, state_BxDxN = _SelectiveScan.apply(*inputs)
        return y_BxLxD, state_BxDxN
    return _scan(_plan(inputs), inputs, None)


def _plan(inputs: ScanInputs) -> ScanPlan:
    batch, length, channels = inputs.x.shape
    places = (n for t in (inputs.B, inputs.C) for n in (t.data_ptr() // t.element_size(), t.stride(0), t.stride(1)))
    sizes = {"batch": batch, "length": length, "channels": channels, "states": inputs.B.shape[2]}
    return ScanPlan(processors=_processors(inputs.x.device), unit=math.gcd(16, *places), **sizes)


def _processors(device: torch.device) -> int:
    """The number of processors; 0 in the interpreter, which runs one program after another."""
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 0


def _scan(plan: ScanPlan, inputs: ScanInputs, saved: Tensor | None) -> tuple[Tensor, Tensor]:
    """y and the last state; the state before each chunk is written to `saved` if given."""
    x, start = inputs.x, inputs.state
    rows, weights = _rows_and_weights(inputs)
    y_BxLxD, final_BxNxD = x.new_empty(x.shape), _float32(x, plan.batch, plan.states, plan.channels)
    starts = None if start is None else _states_first(start)
    with torch.cuda.device_of(x):
        if plan.segments > 1:
            starts = _carried(plan, rows, weights, None, starts)
        outputs = {"y": _view(y_BxLxD), "final": final_BxNxD, "saved": saved}
        sizes = plan.sizes(1 if plan.length == 1 else STRIP) | plan.times()
        scan_forward[plan.grid(plan.segments)](rows=rows, weights=weights, starts=starts, **outputs, **sizes)
    return y_BxLxD, final_BxNxD.mT


def _scan_back(
    plan: ScanPlan,
    saved_tensors: tuple[Tensor, ...],
    grad_y: Tensor,
    grad_final: Tensor | None,
    grad_start: Tensor | None,
) -> Gradients:
    """The gradients of x, delta and z, and partial sums of the others; fills `grad_start` if given."""
    *arguments, saved = saved_tensors
    inputs = ScanInputs(*arguments)
    x, delta, z = inputs.x, inputs.delta, inputs.z
    rows, weights = _rows_and_weights(inputs)
    grad_x, grad_delta, grad_z = (None if t is None else _view(t.new_empty(t.shape)) for t in (x, delta, z))
    programs = plan.batch * plan.segments
    C_and_B = _view(_float32(x, plan.blocks * plan.batch, plan.length, 2 * plan.states))
    grad_D, grad_bias = (_float32(x, programs, plan.channels) for _ in range(2))
    grad_A = _float32(x, programs, plan.states, plan.channels)
    grads = Gradients(x=grad_x, delta=grad_delta, z=grad_z, C_and_B=C_and_B, A=grad_A, D=grad_D, bias=grad_bias)
    with torch.cuda.device_of(x):
        grad_ends = None if grad_final is None else _states_first(grad_final)
        if plan.segments > 1:
            grad_ends = _carried(plan, rows, weights, _view(grad_y), grad_ends)
        above = {"grad_y": _view(grad_y), "grad_ends": grad_ends, "grads": grads, "grad_start": grad_start}
        sizes = plan.sizes(PART) | plan.times()
        scan_backward[plan.grid(plan.segments)](rows=rows, weights=weights, saved=saved, **above, **sizes)
    return grads


def _carried(plan: ScanPlan, rows: Rows, weights: Weights, grad_y: View | None, outer: Tensor | None) -> Tensor:
    """The state before each segment or, given `grad_y`, the gradient of the state after it (B, segments, N, D)."""
    shape = (plan.batch, plan.segments, plan.states, plan.channels)
    local, inner = _float32(weights.A, *shape), _float32(weights.A, *shape)
    total = _float32(weights.A, plan.batch, plan.segments, plan.channels)
    sizes, summary = plan.sizes(STRIP), {"local": local, "total": total}
    summarise[plan.grid(plan.segments)](rows=rows, weights=weights, grad_y=grad_y, **summary, **sizes, **plan.times())
    carry[plan.grid(1)](weights=weights, **summary, outer=outer, inner=inner, REVERSE=grad_y is not None, **sizes)
    return inner


def _rows_and_weights(inputs: ScanInputs) -> tuple[Rows, Weights]:
    timed = (inputs.x, inputs.delta, inputs.B, inputs.C, inputs.z)
    rows = Rows(*(None if tensor is None else _view(tensor) for tensor in timed))
    return rows, Weights(A=_states_first(inputs.A), D=inputs.D, bias=inputs.delta_bias)


def _states_first(matrix: Tensor) -> Tensor:
    """(..., D, N) transposed to contiguous (..., N, D), as the kernels expect; free for states that they returned."""
    return matrix.mT.contiguous()


def _view(tensor: Tensor) -> View:
    return View(data=tensor, sequence=tensor.stride(0), time=tensor.stride(1))


def _float32(like: Tensor, *shape: int) -> Tensor:
    return like.new_empty(shape, dtype=torch.float32)


class _SelectiveScan(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *given: Tensor) -> tuple[Tensor, Tensor]:
        inputs = ScanInputs(*given)
        plan = _plan(inputs)
        saved = _float32(inputs.x, plan.batch, plan.chunks, plan.states, plan.channels)
        ctx.save_for_backward(*inputs[:8], saved)
        ctx.plan, ctx.start_dtype = plan, None if inputs.state is None else inputs.state.dtype
        ctx.set_materialize_grads(False)
        return _scan(plan, inputs, saved)

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
