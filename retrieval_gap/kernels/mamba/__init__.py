"""A residual Mamba layer, x + mixer(norm(x)), in one kernel: nothing in between leaves the cache.

Legend: B batch, L time, D model width, I inner width, K inputs before a step that the convolution sees, N states per
channel.

Source: Gu & Dao 2023 (arXiv 2312.00752), figure 3 and algorithm 2.
"""

from __future__ import annotations

from functools import cache

from jaxtyping import Float
from torch import Tensor

from retrieval_gap.kernels.cpu import LANES
from retrieval_gap.kernels.dispatch import Backend, choose, cpu_and_naive, describe
from retrieval_gap.kernels.mamba import naive
from retrieval_gap.kernels.mamba.naive import MambaWeights

__all__ = [
    "MambaWeights",
    "available_backends",
    "residual_mamba",
    "residual_mamba_prefill",
    "residual_mamba_step",
    "why_not_fused",
]

# Below this size PyTorch's own operations cost less than the call of a kernel.
SMALLEST_COMPILED = 1_024


@cache
def _backends() -> dict[str, Backend]:
    """Fastest first: `auto` takes the first that accepts the tensors."""
    return cpu_and_naive(f"{__name__}.cpu", naive, _refuse)


def _refuse(tensors: list[Tensor]) -> str | None:
    x, (_, states), taps = tensors[0], tensors[8].shape, tensors[3].shape[1]
    if x.shape[-1] % LANES or states % LANES:
        return f"it is made for widths and states of a multiple of {LANES}, not {x.shape[-1]} and {states}"
    return f"it is made for filters of width 4, not {taps}" if taps != 4 else None


def available_backends() -> dict[str, str]:
    """What this machine offers: the name of each backend -> "available", or the reason why not."""
    return describe(_backends())


def why_not_fused(x: Tensor, gain_D: Tensor, weights: MambaWeights) -> str | None:
    """Why a model had better run the layer's parts one by one; None where the fused kernel is to be taken."""
    if x.numel() < SMALLEST_COMPILED:
        return f"{x.numel()} numbers are too few to pay for a kernel's call"
    backend = _backends().get("cpu", Backend(module=None, missing="there is no such backend"))
    return backend.missing or backend.refuses([x, gain_D, *weights])


def residual_mamba(
    x_BxLxD: Float[Tensor, "b l d"],
    gain_D: Float[Tensor, " d"],
    weights: MambaWeights,
    eps: float = 1e-5,
    *,
    backend: str = "auto",
) -> Float[Tensor, "b l d"]:
    """x + mixer(RMSNorm(x)), from the state before any token, with gradients to x, the gain and the weights.

    Raises:
        ValueError: on an unknown backend.
        RuntimeError: if the backend that was asked for by name cannot run these tensors.
    """
    chosen = choose("a residual Mamba layer", _backends(), backend, [x_BxLxD, gain_D, *weights])
    return chosen.residual_mamba(x_BxLxD, gain_D, weights, eps)


def residual_mamba_prefill(
    x_BxLxD: Float[Tensor, "b l d"],
    gain_D: Float[Tensor, " d"],
    weights: MambaWeights,
    state: tuple[Float[Tensor, "b k i"], Float[Tensor, "b i n"]],
    eps: float = 1e-5,
    *,
    backend: str = "auto",
) -> tuple[Float[Tensor, "b l d"], tuple[Float[Tensor, "b k i"], Float[Tensor, "b i n"]]]:
    """`residual_mamba` from a state (the convolution's last inputs; the scan's state), and the state after it.

    Outside autograd.  Raises: as `residual_mamba`; ValueError for a state that does not fit.
    """
    _check_state(x_BxLxD, weights, *state)
    chosen = choose("a residual Mamba layer, prefill", _backends(), backend, [x_BxLxD, gain_D, *weights, *state])
    return chosen.residual_mamba_prefill(x_BxLxD, gain_D, weights, state, eps)


def residual_mamba_step(
    x_BxD: Float[Tensor, "b d"],
    gain_D: Float[Tensor, " d"],
    weights: MambaWeights,
    state: tuple[Float[Tensor, "b k i"], Float[Tensor, "b i n"]],
    eps: float = 1e-5,
    *,
    backend: str = "auto",
) -> tuple[Float[Tensor, "b d"], tuple[Float[Tensor, "b k i"], Float[Tensor, "b i n"]]]:
    """One token of `residual_mamba`, and the state after it, which may be written over the one passed in.

    Outside autograd.  Raises: as `residual_mamba`; ValueError for a state that does not fit.
    """
    _check_state(x_BxD, weights, *state)
    chosen = choose("a residual Mamba layer, one step", _backends(), backend, [x_BxD, gain_D, *weights, *state])
    return chosen.residual_mamba_step(x_BxD, gain_D, weights, state, eps)


def _check_state(x: Tensor, weights: MambaWeights, window_BxKxI: Tensor, ssm_BxIxN: Tensor) -> None:
    """Kernels go by addresses: what does not fit together has to be told before."""
    (inner, taps), states = weights.filter.shape, weights.A.shape[1]
    for name, tensor, shape in (
        ("the convolution's state", window_BxKxI, (len(x), taps - 1, inner)),
        ("the scan's state", ssm_BxIxN, (len(x), inner, states)),
    ):
        if tuple(tensor.shape) != shape:
            raise ValueError(f"{name} has shape {tuple(tensor.shape)}; it must be {shape}")
