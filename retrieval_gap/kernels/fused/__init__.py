"""Normalisation and gating in one pass over memory each: RMSNorm and SwiGLU.

Legend: R rows (any number of leading axes), D channels, H half of the channels.
"""

from __future__ import annotations

from functools import cache

from jaxtyping import Float
from torch import Tensor

from retrieval_gap.kernels.dispatch import Backend, choose, describe, find_cpu_backend
from retrieval_gap.kernels.fused import naive

__all__ = ["available_backends", "rms_norm", "swiglu"]


@cache
def _backends() -> dict[str, Backend]:
    """Fastest first: `auto` takes the first that accepts the tensors."""
    return {"cpu": find_cpu_backend(f"{__name__}.cpu"), "naive": Backend(module=naive)}


def available_backends() -> dict[str, str]:
    """What this machine offers: the name of each backend -> "available", or the reason why not."""
    return describe(_backends())


# Below this size PyTorch's own operations cost less than the call of a kernel (decoding a token, for one).
SMALLEST_COMPILED = 32_768


def rms_norm(
    x_RxD: Float[Tensor, "*r d"], weight_D: Float[Tensor, " d"], eps: float = 1e-5, *, backend: str = "auto"
) -> Float[Tensor, "*r d"]:
    """x / sqrt(mean(x^2) + eps) * weight, over the last axis (Zhang & Sennrich 2019, arXiv 1910.07467, equation 4).

    Raises:
        ValueError: on an unknown backend.
        RuntimeError: if the backend that was asked for by name cannot run these tensors.
    """
    if backend == "auto" and x_RxD.numel() < SMALLEST_COMPILED:
        backend = "naive"
    return choose("RMSNorm", _backends(), backend, [x_RxD, weight_D]).rms_norm(x_RxD, weight_D, eps)


def swiglu(gate_up_Rx2H: Float[Tensor, "*r 2*h"], *, backend: str = "auto") -> Float[Tensor, "*r h"]:
    """silu(gate) * up: gate is the first half of the last axis and up the second (Shazeer 2020, arXiv 2002.05202).

    Raises:
        ValueError: if the last axis has no halves, or on an unknown backend.
        RuntimeError: if the backend that was asked for by name cannot run these tensors.
    """
    if gate_up_Rx2H.shape[-1] % 2:
        raise ValueError(f"SwiGLU halves the last axis, and {gate_up_Rx2H.shape[-1]} is odd")
    if backend == "auto" and gate_up_Rx2H.numel() < SMALLEST_COMPILED:
        backend = "naive"
    return choose("SwiGLU", _backends(), backend, [gate_up_Rx2H]).swiglu(gate_up_Rx2H)
