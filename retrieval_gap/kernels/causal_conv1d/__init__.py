"""The short convolution in front of Mamba's scan: causal, one filter per channel, with bias and SiLU.

Legend: B batch, L time, D channels, K width of the filter; a state is the last K - 1 inputs, in time's order.
"""

from __future__ import annotations

from functools import cache

from jaxtyping import Float
from torch import Tensor

from retrieval_gap.kernels.causal_conv1d import naive
from retrieval_gap.kernels.dispatch import Backend, choose, describe, find_cpu_backend, refuse_all_but_float32_on_cpu

__all__ = ["available_backends", "causal_conv1d", "causal_conv1d_step"]

# A step smaller than this costs less in PyTorch's own operations than the call of a kernel.
_SMALL = 8_192


@cache
def _backends() -> dict[str, Backend]:
    """Fastest first: `auto` takes the first that accepts the tensors."""
    found = find_cpu_backend(f"{__name__}.cpu")
    return {"cpu": Backend(module=found.module, missing=found.missing, refuses=_refuse), "naive": Backend(module=naive)}


def _refuse(tensors: list[Tensor]) -> str | None:
    width = tensors[1].shape[1]
    reason = None if width == 4 else f"it is made for filters of width 4, not {width}"
    return refuse_all_but_float32_on_cpu(tensors) or reason


def available_backends() -> dict[str, str]:
    """What this machine offers: the name of each backend -> "available", or the reason why not."""
    return describe(_backends())


def causal_conv1d(
    x_BxLxD: Float[Tensor, "b l d"],
    weight_DxK: Float[Tensor, "d k"],
    bias_D: Float[Tensor, " d"],
    *,
    initial_state_BxDxK: Float[Tensor, "b d k-1"] | None = None,
    activation: str | None = "silu",
    backend: str = "auto",
) -> tuple[Float[Tensor, "b l d"], Float[Tensor, "b d k-1"]]:
    """y_t = activation(bias + sum_k weight_k x_{t-K+1+k}); steps before the first come from the state (zeros if None).

    Any strides will do as long as the last axis of x is contiguous. Source: Gu & Dao 2023 (arXiv 2312.00752),
    figure 3 and the public code.

    Returns:
        y_BxLxD, and the last K - 1 inputs (BxDx(K-1)): pass them as `initial_state_BxDxK` to go on.

    Raises:
        ValueError: on an unknown activation or backend.
        RuntimeError: if the backend that was asked for by name cannot run these tensors.
    """
    _check_activation(activation)
    chosen = choose("causal conv1d", _backends(), backend, [x_BxLxD, weight_DxK, bias_D, initial_state_BxDxK])
    return chosen.causal_conv1d(x_BxLxD, weight_DxK, bias_D, initial_state_BxDxK, activation == "silu")


def causal_conv1d_step(
    x_BxD: Float[Tensor, "b d"],
    weight_DxK: Float[Tensor, "d k"],
    bias_D: Float[Tensor, " d"],
    state_BxDxK: Float[Tensor, "b d k-1"],
    *,
    activation: str | None = "silu",
    backend: str = "auto",
) -> tuple[Float[Tensor, "b d"], Float[Tensor, "b d k-1"]]:
    """One step of `causal_conv1d`, for decoding: the output, and the new state (the one passed in is left alone).

    Raises: as `causal_conv1d`; ValueError for shapes that do not fit together.
    """
    _check_activation(activation)
    wanted = (*x_BxD.shape, weight_DxK.shape[1] - 1)
    if state_BxDxK.shape != wanted or len(weight_DxK) != x_BxD.shape[1] or len(bias_D) != x_BxD.shape[1]:
        found = ", ".join(str(tuple(tensor.shape)) for tensor in (weight_DxK, bias_D, state_BxDxK))
        raise ValueError(f"weight, bias and state have shapes {found}; the state must be {wanted}")
    if backend == "auto" and x_BxD.numel() < _SMALL:
        backend = "naive"
    chosen = choose("causal conv1d step", _backends(), backend, [x_BxD, weight_DxK, bias_D, state_BxDxK])
    return chosen.causal_conv1d_step(x_BxD, weight_DxK, bias_D, state_BxDxK, activation == "silu")


def _check_activation(activation: str | None) -> None:
    if activation not in ("silu", None):
        raise ValueError(f"unknown activation {activation!r} of causal conv1d; choose 'silu' or None")
