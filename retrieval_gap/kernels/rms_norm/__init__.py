"""RMSNorm in one pass over memory.

Legend: R rows (any number of leading axes), D channels.
"""

from __future__ import annotations

from functools import cache, partial

from jaxtyping import Float
from torch import Tensor

from retrieval_gap.kernels.cpu import LANES
from retrieval_gap.kernels.dispatch import check_shapes, choose, cpu_and_naive
from retrieval_gap.kernels.rms_norm import naive

__all__ = ["backends", "rms_norm"]

# Below this size PyTorch's own operations cost less than a kernel call (decoding a token, for example).
SMALLEST_COMPILED = 32_768


def _refuse(tensors: list[Tensor]) -> str | None:
    channels = len(tensors[1])
    return f"it is made for channels of a multiple of {LANES}, not {channels}" if channels % LANES else None


backends = cache(partial(cpu_and_naive, f"{__name__}.cpu", naive, _refuse))


def rms_norm(
    x_RxD: Float[Tensor, "*r d"], weight_D: Float[Tensor, " d"], eps: float = 1e-5, *, backend: str = "auto"
) -> Float[Tensor, "*r d"]:
    """x / sqrt(mean(x^2) + eps) * weight, over the last axis (Zhang & Sennrich 2019, arXiv 1910.07467, equation 4).

    Raises:
        ValueError: for an unknown backend, or a weight of the wrong shape.
        RuntimeError: if the named backend cannot run these tensors.
    """
    check_shapes({"weight": (weight_D, tuple(x_RxD.shape[-1:]))})
    if backend == "auto" and x_RxD.numel() < SMALLEST_COMPILED:
        backend = "naive"
    return choose("RMSNorm", backends(), backend, [x_RxD, weight_D]).rms_norm(x_RxD, weight_D, eps)
