"""Causal self-attention with rotary positions, from the fused projection of queries, keys and values.

Legend: B batch, L time, H heads, E head width.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from retrieval_gap.kernels.rotary_attention import cpu, naive

__all__ = ["rotary_attention"]


def rotary_attention(
    qkv_BxLx3HE: Float[Tensor, "b l qkv"], rope_LxE: Float[Tensor, "l e"], n_heads: int
) -> Float[Tensor, "b l he"]:
    """Attention of every position to itself and those before it.

    qkv_BxLx3HE: queries of all heads, then keys, then values.
    rope_LxE: per position the cosines of its angles, then the sines; dimension i of a head turns with dimension
    i + E/2 (the half-split layout of the public LLaMA weights).
    """
    run = cpu if cpu.accepts(qkv_BxLx3HE, rope_LxE, n_heads) else naive
    return run.rotary_attention(qkv_BxLx3HE, rope_LxE, n_heads)
