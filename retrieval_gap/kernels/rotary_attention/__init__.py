"""Causal self-attention with rotary positions, from the fused projection of queries, keys and values.

Legend: B batch, L time, H heads, E head width.
"""

from __future__ import annotations

from functools import cache

from jaxtyping import Float
from torch import Tensor

from retrieval_gap.kernels.dispatch import Backend, choose, describe, find_cpu_backend, refuse_all_but_float32_on_cpu
from retrieval_gap.kernels.rotary_attention import naive

__all__ = ["available_backends", "rotary_attention"]

# The kernel keeps the scores of whole rows: past this length PyTorch's, which works in blocks, is the faster one.
LONGEST = 1024
# Dimensions of a head that the kernel works on at once.
GROUP = 16


@cache
def _backends() -> dict[str, Backend]:
    """Fastest first: `auto` takes the first that accepts the tensors."""
    found = find_cpu_backend(f"{__name__}.cpu")
    return {"cpu": Backend(module=found.module, missing=found.missing, refuses=_refuse), "naive": Backend(module=naive)}


def _refuse(tensors: list[Tensor]) -> str | None:
    width = tensors[1].shape[1]
    reason = f"it is made for heads of a multiple of {GROUP} wide, not {width}" if width % GROUP else None
    return refuse_all_but_float32_on_cpu(tensors) or reason


def available_backends() -> dict[str, str]:
    """What this machine offers: the name of each backend -> "available", or the reason why not."""
    return describe(_backends())


def rotary_attention(
    qkv_BxLx3HE: Float[Tensor, "b l qkv"], rope_LxE: Float[Tensor, "l e"], n_heads: int, *, backend: str = "auto"
) -> Float[Tensor, "b l he"]:
    """Attention of every position to itself and those before it.

    qkv_BxLx3HE: queries of all heads, then keys, then values.
    rope_LxE: per position the cosines of its angles, then the sines; dimension i of a head turns with dimension
    i + E/2 (the half-split layout of the public LLaMA weights).

    Raises:
        ValueError: on an unknown backend.
        RuntimeError: if the backend that was asked for by name cannot run these tensors.
    """
    if backend == "auto" and (len(rope_LxE) > LONGEST or qkv_BxLx3HE.numel() == 0):
        backend = "naive"
    chosen = choose("rotary attention", _backends(), backend, [qkv_BxLx3HE, rope_LxE])
    return chosen.rotary_attention(qkv_BxLx3HE, rope_LxE, n_heads)
