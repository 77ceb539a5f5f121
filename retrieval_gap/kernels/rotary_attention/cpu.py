"""Rotary attention on CPU as a PyTorch function: allocates, and tells the kernels where everything is.

Legend: B batch, L time, H heads, E head width.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from retrieval_gap.kernels.cpu.jobs import Job, thread_count
from retrieval_gap.kernels.cpu.lanes import LANES
from retrieval_gap.kernels.rotary_attention import cpu_backward, cpu_forward
from retrieval_gap.kernels.rotary_attention import cpu_tiles as tiles

LANE_NUMBERS = torch.arange(LANES, dtype=torch.float32)


def rotary_attention(qkv_BxLx3HE: Tensor, rope_LxE: Tensor, n_heads: int) -> Tensor:
    """See `retrieval_gap.kernels.rotary_attention`."""
    return _RotaryAttention.apply(qkv_BxLx3HE, rope_LxE, n_heads)


class _RotaryAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, qkv_BxLx3HE: Tensor, rope_LxE: Tensor, n_heads: int) -> Tensor:
        batch, length, width = qkv_BxLx3HE.shape[0], qkv_BxLx3HE.shape[1], rope_LxE.shape[1]
        y_BxLxHE = qkv_BxLx3HE.new_empty(batch, length, n_heads * width)
        largest_BxHxL, inverse_sum_BxHxL = qkv_BxLx3HE.new_empty(2, batch, n_heads, -(-length // LANES) * LANES)
        job = describe(qkv_BxLx3HE, rope_LxE, largest_BxHxL, inverse_sum_BxHxL)
        job.rows(tiles.Y, y_BxLxHE)
        threads = thread_count(batch * n_heads, batch * n_heads * length * length * width / LANES)
        job.run(cpu_forward.forward, threads, cpu_forward.scratch_bytes(length, width))
        ctx.save_for_backward(qkv_BxLx3HE, rope_LxE, largest_BxHxL, inverse_sum_BxHxL)
        return y_BxLxHE

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_y_BxLxHE: Tensor) -> tuple[Tensor | None, ...]:
        qkv_BxLx3HE, rope_LxE, largest_BxHxL, inverse_sum_BxHxL = ctx.saved_tensors
        batch, n_heads, _ = largest_BxHxL.shape
        length, width = rope_LxE.shape
        grad_qkv_BxLx3HE = torch.empty_like(qkv_BxLx3HE, memory_format=torch.contiguous_format)
        job = describe(qkv_BxLx3HE, rope_LxE, largest_BxHxL, inverse_sum_BxHxL)
        job.rows(tiles.GRAD_Y, grad_y_BxLxHE)
        job.rows(tiles.GRAD_QKV, grad_qkv_BxLx3HE)
        threads = thread_count(batch * n_heads, 3 * batch * n_heads * length * length * width / LANES)
        job.run(cpu_backward.backward, threads, cpu_backward.scratch_bytes(length, width))
        return grad_qkv_BxLx3HE, None, None


@cache
def scales(width: int) -> Tensor:
    """log2(e) / sqrt(E), 1 / sqrt(E), ln(2)."""
    return torch.tensor([math.log2(math.e) / math.sqrt(width), 1 / math.sqrt(width), math.log(2)])


def describe(qkv: Tensor, rope: Tensor, largest: Tensor, inverse_sum: Tensor, fields: int = tiles.FIELDS) -> Job:
    """A job that knows its sizes and what both passes read; fields: with those of a kernel around this one."""
    batch, heads, padded = largest.shape
    length, width = rope.shape
    job = Job(fields)
    job.put(tiles.BATCH, batch, length, heads, width, padded)
    job.flat(tiles.SCALE, scales(width))
    job.flat(tiles.ROPE, F.pad(rope.T, (0, padded - length)))
    job.flat(tiles.LANE_NUMBERS, LANE_NUMBERS)
    job.flat(tiles.LARGEST, largest)
    job.flat(tiles.INVERSE_SUM, inverse_sum)
    job.rows(tiles.QKV, qkv)
    return job
