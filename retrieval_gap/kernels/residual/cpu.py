"""The residual layers of a LLaMA block on CPU as PyTorch functions: each is one kernel forward and one backward.

Legend: B batch, L time, R rows (any number of leading axes), D model width, F feed-forward width, E head width,
I items of a kernel, each with its own part of the weights' gradients.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from retrieval_gap.kernels.cpu import LANES
from retrieval_gap.kernels.cpu.jobs import MOST_ITEMS, Job, mark_written, sum_in_order, thread_count
from retrieval_gap.kernels.residual import cpu_attend as k
from retrieval_gap.kernels.residual import cpu_attention, cpu_attention_step, cpu_swiglu
from retrieval_gap.kernels.residual.naive import AttentionWeights, Cache


def residual_swiglu(x_RxD: Tensor, gain_D: Tensor, gate_up_2FxD: Tensor, down_DxF: Tensor, eps: float) -> Tensor:
    """See `retrieval_gap.kernels.residual`."""
    if missing := -down_DxF.shape[1] % LANES:  # pad to whole vectors: zeros are gated to zeros
        gate_up_2FxD = F.pad(gate_up_2FxD.unflatten(0, (2, -1)), (0, 0, 0, missing)).flatten(0, 1)
        down_DxF = F.pad(down_DxF, (0, missing))
    return _ResidualSwiGLU.apply(x_RxD, gain_D, gate_up_2FxD, down_DxF, eps)


def residual_attention(
    x_BxLxD: Tensor, weights: AttentionWeights, rope_LxE: Tensor, eps: float, cache: Cache | None
) -> Tensor:
    """See `retrieval_gap.kernels.residual`."""
    if cache is None:
        return _ResidualAttention.apply(x_BxLxD, *weights, rope_LxE, eps)
    mark_written(*cache)
    return _attention(x_BxLxD.contiguous(), weights, rope_LxE, eps, cache)[0]


def residual_attention_step(
    x_BxD: Tensor, weights: AttentionWeights, rope_E: Tensor, cache: Cache, eps: float
) -> Tensor:
    """See `retrieval_gap.kernels.residual`."""
    x_BxD = x_BxD.contiguous()
    y_BxD, (batch, heads, tokens, width) = torch.empty_like(x_BxD), cache[0].shape
    mark_written(*cache)
    job = _forward_job(x_BxD, y_BxD, weights, rope_E[None], tokens, eps, cache)
    threads = thread_count(min(MOST_ITEMS, batch), batch * (4 * heads * width + 4 * tokens) * heads * width / LANES)
    job.run(cpu_attention_step.step, threads, cpu_attention_step.scratch_bytes(tokens, heads, width))
    return y_BxD


class _ResidualSwiGLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, gain: Tensor, gate_up: Tensor, down: Tensor, eps: float) -> Tensor:
        k, (width, hidden), x = cpu_swiglu, down.shape, x.contiguous()
        rows, y = x.numel() // width, torch.empty_like(x)
        kept_Rx2F = x.new_empty(rows, 2 * hidden) if any(ctx.needs_input_grad) else None
        job, items = _swiglu_job(x, gain, kept_Rx2F, width, hidden, eps)
        job.flats({k.Y: y, k.W_GATE_UP: gate_up.t(), k.W_DOWN: down.t()})
        threads = thread_count(items, 3 * rows * width * hidden / LANES)
        job.run(k.forward, threads, k.scratch_bytes(width, hidden))
        ctx.save_for_backward(x, gain, gate_up, down, kept_Rx2F)
        ctx.eps = eps
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_y: Tensor) -> tuple[Tensor | None, ...]:
        x, gain, gate_up, down, kept_Rx2F = ctx.saved_tensors
        k, (width, hidden), rows = cpu_swiglu, down.shape, len(kept_Rx2F)
        (job, items), grad_x = _swiglu_job(x, gain, kept_Rx2F, width, hidden, ctx.eps), torch.empty_like(x)
        shapes = {k.GRAD_GAIN: (width,), k.GRAD_W_GATE_UP: (2 * hidden, width), k.GRAD_W_DOWN: (width, hidden)}
        parts = {index: x.new_zeros(items, *shape) for index, shape in shapes.items()}
        job.flats({k.W_GATE_UP: gate_up, k.W_DOWN: down, k.GRAD_Y: grad_y, k.GRAD_X: grad_x} | parts)
        threads = thread_count(items, 6 * rows * width * hidden / LANES)
        job.run(k.backward, threads, k.scratch_bytes(width, hidden))
        return (grad_x, *map(sum_in_order, parts.values()), None)


def _swiglu_job(
    x: Tensor, gain: Tensor, kept_Rx2F: Tensor | None, width: int, hidden: int, eps: float
) -> tuple[Job, int]:
    """A job with the sizes and the inputs that both passes read; the number of its items."""
    rows, job = x.numel() // width, Job(cpu_swiglu.FIELDS)
    chunks = -(-rows // cpu_swiglu.CHUNK)
    job.put(cpu_swiglu.ROWS, rows, chunks, width, hidden, items := min(MOST_ITEMS, chunks))
    job.real(cpu_swiglu.EPS, eps)
    job.flats({cpu_swiglu.X: x, cpu_swiglu.GAIN: gain, cpu_swiglu.GATE_UP: kept_Rx2F})
    return job, items


def _attention_job(x: Tensor, gain: Tensor, rope_LxE: Tensor, length: int, eps: float) -> Job:
    """A job with the sizes and the inputs that all passes read."""
    width, (cos, sin), job = rope_LxE.shape[1], rope_LxE.chunk(2, 1), Job(k.FIELDS)
    job.put(k.BATCH, len(x), length, x.shape[-1] // width, width, min(MOST_ITEMS, len(x)))
    job.real(k.EPS, eps)
    job.flats({k.X: x, k.GAIN: gain, k.ROPE: torch.cat([cos, cos, -sin, sin], 1)})
    return job


def _forward_job(
    x: Tensor, y: Tensor, weights: AttentionWeights, rope_LxE: Tensor, length: int, eps: float, cache: Cache | None
) -> Job:
    job = _attention_job(x, weights.gain, rope_LxE, length, eps)
    job.flats({k.OUT: y, k.W_QKV: weights.qkv.t(), k.W_OUT: weights.out.t()})
    if cache is not None:
        job.views({k.K_CACHE: cache[0][:, :, 0], k.V_CACHE: cache[1][:, :, 0]})
    return job


def _attention(
    x: Tensor, weights: AttentionWeights, rope_LxE: Tensor, eps: float, cache: Cache | None
) -> tuple[Tensor, Tensor, Tensor]:
    """The output; for the backward pass also queries, keys and values, and the heads' outputs."""
    (batch, length, width), each, y = x.shape, rope_LxE.shape[1], torch.empty_like(x)
    qkv_BxLx3D, heads_BxLxD = x.new_empty(batch, length, 3 * width), torch.empty_like(x)
    job = _forward_job(x, y, weights, rope_LxE, length, eps, cache)
    job.flats({k.QKV: qkv_BxLx3D, k.Y: heads_BxLxD})
    threads = thread_count(min(MOST_ITEMS, batch), batch * length * (4 * width + length) * width / LANES)
    job.run(cpu_attention.forward, threads, cpu_attention.scratch_bytes(length, width // each, each))
    return y, qkv_BxLx3D, heads_BxLxD


class _ResidualAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, gain: Tensor, qkv: Tensor, out: Tensor, rope: Tensor, eps: float) -> Tensor:
        x = x.contiguous()
        y, *kept = _attention(x, AttentionWeights(gain, qkv, out), rope, eps, None)
        ctx.save_for_backward(x, gain, qkv, out, rope, *kept)
        ctx.eps = eps
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_y: Tensor) -> tuple[Tensor | None, ...]:
        x, gain, qkv, out, rope, qkv_BxLx3D, heads_BxLxD = ctx.saved_tensors
        (batch, length, width), each, grad_x = x.shape, rope.shape[1], torch.empty_like(x)
        items, job = min(MOST_ITEMS, batch), _attention_job(x, gain, rope, length, ctx.eps)
        shapes = {k.GRAD_GAIN: (width,), k.GRAD_W_QKV: (3 * width, width), k.GRAD_W_OUT: (width, width)}
        parts = {index: x.new_zeros(items, *shape) for index, shape in shapes.items()}
        job.flats({k.QKV: qkv_BxLx3D, k.Y: heads_BxLxD, k.W_QKV: qkv, k.W_OUT: out, k.GRAD_OUT: grad_y})
        job.flats({k.GRAD_X: grad_x} | parts)
        threads = thread_count(items, batch * length * (8 * width + 3 * length) * width / LANES)
        job.run(cpu_attention.backward, threads, cpu_attention.scratch_bytes(length, width // each, each))
        return (grad_x, *map(sum_in_order, parts.values()), None, None)
