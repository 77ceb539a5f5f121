"""The residual layers of a LLaMA block on CPU as PyTorch functions: each is one kernel forward and one backward.

Legend: B batch, L time, R rows (any number of leading axes), D model width, F feed-forward width, E head width,
I items of a kernel, each with its own part of the weights' gradients.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from retrieval_gap.kernels.cpu import LANES
from retrieval_gap.kernels.cpu.jobs import MOST_ITEMS, Job, sum_in_order, tell_autograd_of_writing, thread_count
from retrieval_gap.kernels.residual import cpu_attention, cpu_attention_step, cpu_swiglu
from retrieval_gap.kernels.residual import cpu_tiles as tiles
from retrieval_gap.kernels.residual.naive import AttentionWeights, Cache

_LANE_NUMBERS = torch.arange(LANES, dtype=torch.float32)


@cache
def _scales(width: int) -> Tensor:
    """log2(e) / sqrt(E), 1 / sqrt(E), ln(2)."""
    return torch.tensor([math.log2(math.e) / math.sqrt(width), 1 / math.sqrt(width), math.log(2)])


def residual_swiglu(x_RxD: Tensor, gain_D: Tensor, gate_up_2FxD: Tensor, down_DxF: Tensor, eps: float) -> Tensor:
    """See `retrieval_gap.kernels.residual`."""
    if missing := -down_DxF.shape[1] % LANES:  # zeros, up to whole vectors, are gated to zeros
        gate_up_2FxD = F.pad(gate_up_2FxD.unflatten(0, (2, -1)), (0, 0, 0, missing)).flatten(0, 1)
        down_DxF = F.pad(down_DxF, (0, missing))
    return _ResidualSwiGLU.apply(x_RxD, gain_D, gate_up_2FxD, down_DxF, eps)


def residual_attention(
    x_BxLxD: Tensor, weights: AttentionWeights, rope_LxE: Tensor, n_heads: int, eps: float
) -> Tensor:
    """See `retrieval_gap.kernels.residual`."""
    return _ResidualAttention.apply(x_BxLxD, *weights, rope_LxE, n_heads, eps)


def residual_attention_prefill(
    x_BxLxD: Tensor, weights: AttentionWeights, rope_LxE: Tensor, cache: Cache, eps: float
) -> Tensor:
    """See `retrieval_gap.kernels.residual`."""
    tell_autograd_of_writing(*cache)
    eps_1, n_heads = x_BxLxD.new_tensor(eps), cache[0].shape[1]
    return _attention(x_BxLxD.contiguous(), weights, rope_LxE, n_heads, eps_1, cache)[0]


def residual_attention_step(
    x_BxD: Tensor, weights: AttentionWeights, rope_E: Tensor, cache: Cache, eps: float
) -> Tensor:
    """See `retrieval_gap.kernels.residual`."""
    x_BxD = x_BxD.contiguous()
    k, (batch, heads, tokens, width), y_BxD = cpu_attention_step, cache[0].shape, torch.empty_like(x_BxD)
    tell_autograd_of_writing(*cache)
    items, job, (cos, sin) = min(MOST_ITEMS, batch), Job(cpu_attention_step.FIELDS), rope_E.chunk(2)
    job.put(k.BATCH, batch, tokens - 1, heads, width, items)
    job.flats({k.X: x_BxD, k.OUT: y_BxD, k.EPS: x_BxD.new_tensor(eps), k.GAIN: weights.gain})
    job.flats({k.W_QKV: weights.qkv.t(), k.W_OUT: weights.out.t(), k.COS: cos.repeat(2), k.SIN: torch.cat([-sin, sin])})
    job.flats({k.SCALE: _scales(width), k.LANE_NUMBERS: _LANE_NUMBERS})
    for index, kept in zip((k.K_CACHE, k.V_CACHE), cache, strict=True):
        job.rows(index, kept)
    threads = thread_count(items, batch * (4 * heads * width + 4 * tokens) * heads * width / LANES)
    job.run(k.step, threads, k.scratch_bytes(tokens - 1, heads, width))
    return y_BxD


class _ResidualSwiGLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, gain: Tensor, gate_up: Tensor, down: Tensor, eps: float) -> Tensor:
        k, (width, hidden), x = cpu_swiglu, down.shape, x.contiguous()
        rows, y, eps_1 = x.numel() // width, torch.empty_like(x), x.new_tensor(eps)
        kept_Rx2F = x.new_empty(rows, 2 * hidden) if any(ctx.needs_input_grad) else None
        job, items = Job(k.FIELDS), min(MOST_ITEMS, -(-rows // k.CHUNK))
        job.put(k.ROWS, rows, width, hidden, items)
        job.flats({k.X: x, k.Y: y, k.EPS: eps_1, k.GAIN: gain, k.GATE_UP: kept_Rx2F})
        job.flats({k.W_GATE_UP: gate_up.t(), k.W_DOWN: down.t()})
        threads = thread_count(items, 3 * rows * width * hidden / LANES)
        job.run(k.forward, threads, k.forward_scratch_bytes(width, hidden))
        ctx.save_for_backward(x, gain, gate_up, down, eps_1, kept_Rx2F)
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_y: Tensor) -> tuple[Tensor | None, ...]:
        x, gain, gate_up, down, eps_1, kept_Rx2F = ctx.saved_tensors
        k, (width, hidden) = cpu_swiglu, down.shape
        rows, grad_x = x.numel() // width, torch.empty_like(x)
        job, items = Job(k.FIELDS), min(MOST_ITEMS, -(-rows // k.CHUNK))
        grad_gain_IxD, grad_gate_up_Ix2FxD = x.new_empty(items, width), x.new_empty(items, 2 * hidden, width)
        grad_down_IxDxF = x.new_empty(items, width, hidden)
        job.put(k.ROWS, rows, width, hidden, items)
        job.flats({k.X: x, k.EPS: eps_1, k.GAIN: gain, k.GATE_UP: kept_Rx2F, k.W_GATE_UP: gate_up, k.W_DOWN: down})
        job.flats({k.GRAD_Y: grad_y, k.GRAD_X: grad_x, k.GRAD_GAIN: grad_gain_IxD})
        job.flats({k.GRAD_W_GATE_UP: grad_gate_up_Ix2FxD, k.GRAD_W_DOWN: grad_down_IxDxF})
        threads = thread_count(items, 6 * rows * width * hidden / LANES)
        job.run(k.backward, threads, k.backward_scratch_bytes(width, hidden))
        return (grad_x, *map(sum_in_order, (grad_gain_IxD, grad_gate_up_Ix2FxD, grad_down_IxDxF)), None)


def _describe(qkv: Tensor, rope: Tensor, softmax: Tensor, heads_BxLxD: Tensor, items: int) -> Job:
    """A job that knows its sizes and what both passes read."""
    _, batch, heads, padded = softmax.shape
    length, width = rope.shape
    job = Job(cpu_attention.FIELDS)
    job.put(tiles.BATCH, batch, length, heads, width, padded)
    job.put(cpu_attention.ITEMS, items)
    job.flats({tiles.SCALE: _scales(width), tiles.ROPE: F.pad(rope.T, (0, padded - length))})
    job.flats({tiles.LANE_NUMBERS: _LANE_NUMBERS, tiles.LARGEST: softmax[0], tiles.INVERSE_SUM: softmax[1]})
    job.rows(tiles.QKV, qkv)
    job.rows(tiles.Y, heads_BxLxD)
    return job


def _attention(
    x: Tensor, weights: AttentionWeights, rope: Tensor, n_heads: int, eps_1: Tensor, cache: Cache | None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The output; and for the backward pass queries, keys and values, the heads, their softmax's two numbers."""
    k, (batch, length, width), items = cpu_attention, x.shape, min(MOST_ITEMS, x.shape[0])
    padded = -(-length // LANES) * LANES
    qkv_BxLx3D, heads_BxLxD, y = x.new_empty(batch, length, 3 * width), torch.empty_like(x), torch.empty_like(x)
    softmax = x.new_empty(2, batch, n_heads, padded)
    job = _describe(qkv_BxLx3D, rope, softmax, heads_BxLxD, items)
    job.flats(
        {k.X: x, k.OUT: y, k.EPS: eps_1, k.GAIN: weights.gain, k.W_QKV: weights.qkv.t(), k.W_OUT: weights.out.t()}
    )
    for index, kept in zip((k.K_CACHE, k.V_CACHE), cache or (), strict=False):
        job.rows(index, kept)
    threads = thread_count(items, batch * length * (4 * width + length) * width / LANES)
    job.run(k.forward, threads, k.forward_scratch_bytes(length, n_heads, width // n_heads))
    return y, qkv_BxLx3D, heads_BxLxD, softmax


class _ResidualAttention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, gain: Tensor, qkv: Tensor, out: Tensor, rope: Tensor, n_heads: int, eps: float
    ) -> Tensor:
        x, eps_1 = x.contiguous(), x.new_tensor(eps)
        y, *kept = _attention(x, AttentionWeights(gain, qkv, out), rope, n_heads, eps_1, None)
        ctx.save_for_backward(x, gain, qkv, out, rope, eps_1, *kept)
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_y: Tensor) -> tuple[Tensor | None, ...]:
        x, gain, qkv, out, rope, eps_1, qkv_BxLx3D, heads_BxLxD, softmax = ctx.saved_tensors
        k, (batch, length, width), n_heads = cpu_attention, x.shape, softmax.shape[2]
        items, grad_x = min(MOST_ITEMS, batch), torch.empty_like(x)
        grad_gain_IxD, grad_qkv_Ix3DxD = x.new_empty(items, width), x.new_empty(items, 3 * width, width)
        grad_out_IxDxD = x.new_empty(items, width, width)
        job = _describe(qkv_BxLx3D, rope, softmax, heads_BxLxD, items)
        # The gradients of a sequence's heads and projections stay in scratch memory: their rows alone matter.
        job.put(tiles.GRAD_Y + 2, x.element_size() * width)
        job.put(tiles.GRAD_QKV + 2, x.element_size() * 3 * width)
        job.flats({k.X: x, k.EPS: eps_1, k.GAIN: gain, k.W_QKV: qkv, k.W_OUT: out, k.GRAD_OUT: grad_y})
        job.flats({k.GRAD_X: grad_x, k.GRAD_GAIN: grad_gain_IxD})
        job.flats({k.GRAD_W_QKV: grad_qkv_Ix3DxD, k.GRAD_W_OUT: grad_out_IxDxD})
        threads = thread_count(items, batch * length * (8 * width + 3 * length) * width / LANES)
        job.run(k.backward, threads, k.backward_scratch_bytes(length, n_heads, width // n_heads))
        return (grad_x, *map(sum_in_order, (grad_gain_IxD, grad_qkv_Ix3DxD, grad_out_IxDxD)), None, None, None)
