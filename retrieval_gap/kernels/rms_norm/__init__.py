"""RMSNorm in one pass over memory.

Legend: R rows (any number of leading axes), D channels.
"""

from __future__ import annotations

from functools import cache

from jaxtyping import Float
from torch import Tensor

from retrieval_gap.kernels.cpu import LANES
from retrieval_gap.kernels.dispatch import Backend, choose, cpu_and_naive, describe
from retrieval_gap.kernels.rms_norm import naive

__all__ = ["available_backends", "rms_norm"]

# Below this size PyTorch's own operations cost less than the call of a kernel (decoding a token, for one).
SMALLEST_COMPILED = 32_768


@cache
def _backends() -> dict[str, Backend]:
    """Fastest first: `auto` takes the first that accepts the tensors."""
    return cpu_and_naive(f"{__name__}.cpu", naive, _refuse)


def _refuse(tensors: list[Tensor]) -> str | None:
    channels = len(tensors[1])
    return f"it is made for channels of a multiple of {LANES}, not {channels}" if channels % LANES else None


def available_backends() -> dict[str, str]:
    """What this machine offers: the name of each backend -> "available", or the reason why not."""
    return describe(_backends())


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
