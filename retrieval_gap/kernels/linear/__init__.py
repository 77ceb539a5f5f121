"""A linear layer without bias, y = x W^T, by whichever of PyTorch's two libraries of matrix products is the faster one.

Legend: R rows (any number of leading axes), D inputs, F outputs.
"""

from __future__ import annotations

from functools import cache

from jaxtyping import Float
from torch import Tensor

from retrieval_gap.kernels.dispatch import Backend, choose, describe
from retrieval_gap.kernels.linear import naive, onednn

__all__ = ["available_backends", "linear"]

# Below this many multiply-adds `torch.nn.functional.linear`, which has less to set up, is as fast.
SMALLEST = 1 << 18


@cache
def _backends() -> dict[str, Backend]:
    """Fastest first: `auto` takes the first that accepts the tensors."""
    missing = onednn.why_missing()
    faster = Backend(module=onednn, missing=missing, refuses=onednn.refuses)
    return {"onednn": faster, "naive": Backend(module=naive)}


def available_backends() -> dict[str, str]:
    """What this machine offers: the name of each backend -> "available", or the reason why not."""
    return describe(_backends())


def linear(
    x_RxD: Float[Tensor, "*r d"], weight_FxD: Float[Tensor, "f d"], *, backend: str = "auto"
) -> Float[Tensor, "*r f"]:
    """x W^T, with gradients to both.

    Raises:
        ValueError: on an unknown backend.
        RuntimeError: if the backend that was asked for by name cannot run these tensors.
    """
    if backend == "auto" and (x_RxD.numel() * len(weight_FxD) < SMALLEST or _backends()["onednn"].missing):
        backend = "naive"
    return choose("a linear layer", _backends(), backend, [x_RxD, weight_FxD]).linear(x_RxD, weight_FxD)
