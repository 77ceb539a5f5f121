"""The short convolution before Mamba's scan: causal, one filter per channel, with bias and SiLU.

Legend: B batch, L time, D channels, K width of the filter; a state is the last K - 1 inputs, in time order.
"""

from __future__ import annotations

from functools import cache, partial

from jaxtyping import Float
from torch import Tensor

from retrieval_gap.kernels.causal_conv1d import naive
from retrieval_gap.kernels.cpu import LANES
from retrieval_gap.kernels.dispatch import check_shapes, choose, cpu_and_naive

__all__ = ["backends", "causal_conv1d", "causal_conv1d_step"]


def _refuse(tensors: list[Tensor]) -> str | None:
    channels, width = tensors[1].shape
    if width != 4:
        return f"it is made for filters of width 4, not {width}"
    return f"it is made for channels of a multiple of {LANES}, not {channels}" if channels % LANES else None


backends = cache(partial(cpu_and_naive, f"{__name__}.cpu", naive, _refuse))


def causal_conv1d(
    x_BxLxD: Float[Tensor, "b l d"],
    weight_DxK: Float[Tensor, "d k"],
    bias_D: Float[Tensor, " d"],
    *,
    initial_state_BxKxD: Float[Tensor, "b k-1 d"] | None = None,
    with_silu: bool = True,
    backend: str = "auto",
) -> tuple[Float[Tensor, "b l d"], Float[Tensor, "b k-1 d"]]:
    """y_t = silu(bias + sum_k weight_k x_{t-K+1+k}); steps before the first come from the state (zeros if None).

    Strides are free, except that the last axis of x must be contiguous. Source: Gu & Dao 2023 (arXiv 2312.00752),
    figure 3 and the public code.

    Returns:
        y_BxLxD, and the last K - 1 inputs (Bx(K-1)xD): pass them as `initial_state_BxKxD` to continue.

    Raises:
        ValueError: for an unknown backend, or a filter, bias or state of the wrong shape.
        RuntimeError: if the named backend cannot run these tensors.
    """
    (batch, _, channels), width = x_BxLxD.shape, weight_DxK.shape[1]
    check_shapes({"weight": (weight_DxK, (channels, width)), "bias": (bias_D, (channels,))})
    if initial_state_BxKxD is not None:
        check_shapes({"state": (initial_state_BxKxD, (batch, width - 1, channels))})
    if not with_silu:  # the compiled kernel always applies SiLU
        return naive.causal_conv1d(x_BxLxD, weight_DxK, bias_D, initial_state_BxKxD, with_silu=False)
    chosen = choose("causal conv1d", backends(), backend, [x_BxLxD, weight_DxK, bias_D, initial_state_BxKxD])
    return chosen.causal_conv1d(x_BxLxD, weight_DxK, bias_D, initial_state_BxKxD)


def causal_conv1d_step(
    x_BxD: Float[Tensor, "b d"],
    weight_DxK: Float[Tensor, "d k"],
    bias_D: Float[Tensor, " d"],
    state_BxKxD: Float[Tensor, "b k-1 d"],
    *,
    with_silu: bool = True,
) -> tuple[Float[Tensor, "b d"], Float[Tensor, "b k-1 d"]]:
    """One decode step of `causal_conv1d`: the output, and the new state (the one passed in is not changed)."""
    step = (x_BxD[:, None], weight_DxK, bias_D)
    y_Bx1xD, state_BxKxD = causal_conv1d(*step, initial_state_BxKxD=state_BxKxD, with_silu=with_silu)
    return y_Bx1xD[:, 0], state_BxKxD
