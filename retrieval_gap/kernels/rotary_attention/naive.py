"""Rotary attention in PyTorch's own operations: the definition, and the path for everything the CPU kernel refuses.

Legend: B batch, L time, H heads, E head width.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def rotate(x_BxHxLxE: Tensor, rope_LxE: Tensor) -> Tensor:
    """Turns the pairs (i, i + E/2) of each head by the angles of its position."""
    cos, sin = rope_LxE.chunk(2, -1)
    first, second = x_BxHxLxE.chunk(2, -1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], -1)


def split_heads(qkv_BxLx3HE: Tensor, rope_LxE: Tensor, n_heads: int) -> tuple[Tensor, Tensor, Tensor]:
    """Turned queries and keys, and values, each BxHxLxE."""
    batch, length, _ = qkv_BxLx3HE.shape
    qkv_3xBxHxLxE = qkv_BxLx3HE.view(batch, length, 3, n_heads, -1).permute(2, 0, 3, 1, 4)
    q_BxHxLxE, k_BxHxLxE = rotate(qkv_3xBxHxLxE[:2], rope_LxE)
    return q_BxHxLxE, k_BxHxLxE, qkv_3xBxHxLxE[2]


def rotary_attention(qkv_BxLx3HE: Tensor, rope_LxE: Tensor, n_heads: int) -> Tensor:
    """See `retrieval_gap.kernels.rotary_attention`."""
    q, k, v = split_heads(qkv_BxLx3HE, rope_LxE, n_heads)
    return F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2)
