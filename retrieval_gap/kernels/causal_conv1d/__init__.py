"""The short convolution in front of Mamba's scan: causal, one filter per channel, with bias and SiLU.

Legend: B batch, L time, D channels, K width of the filter; a state is the last K - 1 inputs, in time's order.
"""

from __future__ import annotations

from functools import cache

from jaxtyping import Float
from torch import Tensor

from retrieval_gap.kernels.causal_conv1d import naive
from retrieval_gap.kernels.cpu import LANES
from retrieval_gap.kernels.dispatch import Backend, choose, cpu_and_naive, describe

__all__ = ["available_backends", "causal_conv1d", "causal_conv1d_step"]


@cache
def _backends() -> dict[str, Backend]:
    """Fastest first: `auto` takes the first that accepts the tensors."""
    return cpu_and_naive(f"{__name__}.cpu", naive, _refuse)


def _refuse(tensors: list[Tensor]) -> str | None:
    channels, width = tensors[1].shape
    if width != 4:
        return f"it is made for filters of width 4, not {width}"
    return f"it is made for channels of a multiple of {LANES}, not {channels}" if channels % LANES else None


def available_backends() -> dict[str, str]:
    """What this machine offers: the name of each backend -> "available", or the reason why not."""
    return describe(_backends())


def causal_conv1d(
    x_BxLxD: Float[Tensor, "b l d"],
    weight_DxK: Float[Tensor, "d k"],
    bias_D: Float[Tensor, " d"],
    *,
    initial_state_BxKxD: Float[Tensor, "b k-1 d"] | None = None,
    activation: str | None = "silu",
    backend: str = "auto",
) -> tuple[Float[Tensor, "b l d"], Float[Tensor, "b k-1 d"]]:
    """y_t = activation(bias + sum_k weight_k x_{t-K+1+k}); steps before the first come from the state (zeros if None).

    Any strides will do as long as the last axis of x is contiguous. Source: Gu & Dao 2023 (arXiv 2312.00752),
    figure 3 and the public code.

    Returns:
        y_BxLxD, and the last K - 1 inputs (Bx(K-1)xD): pass them as `initial_state_BxKxD` to go on.

    Raises:
        ValueError: on an unknown activation or backend.
        RuntimeError: if the backend that was asked for by name cannot run these tensors.
    """
    if activation not in ("silu", None):
        raise ValueError(f"unknown activation {activation!r} of causal conv1d; choose 'silu' or None")
    if activation is None:  # the compiled kernel has SiLU in it
        return naive.causal_conv1d(x_BxLxD, weight_DxK, bias_D, initial_state_BxKxD, with_silu=False)
    chosen = choose("causal conv1d", _backends(), backend, [x_BxLxD, weight_DxK, bias_D, initial_state_BxKxD])
    return chosen.causal_conv1d(x_BxLxD, weight_DxK, bias_D, initial_state_BxKxD)


def causal_conv1d_step(
    x_BxD: Float[Tensor, "b d"],
    weight_DxK: Float[Tensor, "d k"],
    bias_D: Float[Tensor, " d"],
    state_BxKxD: Float[Tensor, "b k-1 d"],
    *,
    activation: str | None = "silu",
) -> tuple[Float[Tensor, "b d"], Float[Tensor, "b k-1 d"]]:
    """`causal_conv1d` of one step, for decoding: the output, and the new state (the one passed in is left alone)."""
    step = (x_BxD[:, None], weight_DxK, bias_D)
    y_Bx1xD, state_BxKxD = causal_conv1d(*step, initial_state_BxKxD=state_BxKxD, activation=activation)
    return y_Bx1xD[:, 0], state_BxKxD
