"""The residual layers of a LLaMA block in PyTorch's own operations: any dtype, any device, gradients by autograd.

Legend: B batch, L time, T tokens in a cache, H heads, D model width, F feed-forward width, E head width.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F


class AttentionWeights(NamedTuple):
    """The norm's gain (D), the stacked projections to queries, keys and values (3D x D), that of the output (D x D)."""

    gain: Tensor
    qkv: Tensor
    out: Tensor


Cache = tuple[Tensor, Tensor]
"""Rotated keys, and values, each BxHxTxE."""


def rotate(x_BxHxLxE: Tensor, rope_LxE: Tensor) -> Tensor:
    """Rotate the pairs (i, i + E/2) of each head by the angles of its position."""
    cos, sin = rope_LxE.chunk(2, -1)
    first, second = x_BxHxLxE.chunk(2, -1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], -1)


def split_heads(qkv_BxLx3HE: Tensor, rope_LxE: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Rotated queries and keys, and values, each BxHxLxE."""
    each, heads = rope_LxE.shape[1], qkv_BxLx3HE.shape[2] // (3 * rope_LxE.shape[1])
    qkv_3xBxHxLxE = qkv_BxLx3HE.unflatten(2, (3, heads, each)).permute(2, 0, 3, 1, 4)
    q_BxHxLxE, k_BxHxLxE = rotate(qkv_3xBxHxLxE[:2], rope_LxE)
    return q_BxHxLxE, k_BxHxLxE, qkv_3xBxHxLxE[2]


def _heads(x_BxLxD: Tensor, weights: AttentionWeights, rope_LxE: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """Rotated queries and keys, and values."""
    normed = F.rms_norm(x_BxLxD, weights.gain.shape, weights.gain, eps)
    return split_heads(F.linear(normed, weights.qkv), rope_LxE)


def residual_swiglu(x_RxD: Tensor, gain_D: Tensor, gate_up_2FxD: Tensor, down_DxF: Tensor, eps: float) -> Tensor:
    """See `retrieval_gap.kernels.residual`."""
    gate, up = F.linear(F.rms_norm(x_RxD, gain_D.shape, gain_D, eps), gate_up_2FxD).chunk(2, -1)
    return x_RxD + F.linear(F.silu(gate) * up, down_DxF)


def residual_attention(
    x_BxLxD: Tensor, weights: AttentionWeights, rope_LxE: Tensor, eps: float, cache: Cache | None
) -> Tensor:
    """See `retrieval_gap.kernels.residual`."""
    q, k, v = _heads(x_BxLxD, weights, rope_LxE, eps)
    for kept, made in zip(cache or (), (k, v), strict=False):
        kept.copy_(made)
    y_BxHxLxE = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    return x_BxLxD + F.linear(y_BxHxLxE.transpose(1, 2).flatten(2), weights.out)


def residual_attention_step(
    x_BxD: Tensor, weights: AttentionWeights, rope_E: Tensor, cache: Cache, eps: float
) -> Tensor:
    """See `retrieval_gap.kernels.residual`."""
    q_BxHx1xE, *made = _heads(x_BxD[:, None], weights, rope_E[None], eps)
    for kept, new in zip(cache, made, strict=True):
        kept[:, :, -1:] = new
    y_BxHx1xE = F.scaled_dot_product_attention(q_BxHx1xE, *cache)
    return x_BxD + F.linear(y_BxHx1xE.flatten(1), weights.out)
