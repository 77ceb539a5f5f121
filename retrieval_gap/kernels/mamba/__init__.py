"""A residual Mamba layer, x + mixer(norm(x)), in one kernel: intermediate results stay in cache.

Legend: B batch, L time, D model width, I inner width, K inputs before a step that the convolution sees, N states per
channel.

Source: Gu & Dao 2023 (arXiv 2312.00752), figure 3 and algorithm 2.
"""

from __future__ import annotations

from functools import cache, partial

from jaxtyping import Float
from torch import Tensor

from retrieval_gap.kernels.cpu import LANES
from retrieval_gap.kernels.dispatch import Backend, check_shapes, choose, cpu_and_naive
from retrieval_gap.kernels.mamba import naive
from retrieval_gap.kernels.mamba.naive import MambaWeights, State

__all__ = ["MambaWeights", "State", "backends", "residual_mamba", "residual_mamba_step", "why_not_fused"]


def _refuse(tensors: list[Tensor]) -> str | None:
    x, (_, states), taps = tensors[0], tensors[8].shape, tensors[3].shape[1]
    if x.shape[-1] % LANES or states % LANES:
        return f"it is made for widths and states of a multiple of {LANES}, not {x.shape[-1]} and {states}"
    return f"it is made for filters of width 4, not {taps}" if taps != 4 else None


backends = cache(partial(cpu_and_naive, f"{__name__}.cpu", naive, _refuse))


def why_not_fused(x: Tensor, weights: MambaWeights) -> str | None:
    """Why a model should run the layer's parts one by one; None if it should use the fused kernel."""
    if x.numel() == 0:
        return "there is nothing to compute"
    backend = backends().get("cpu", Backend(module=None, missing="there is no such backend"))
    return backend.missing or backend.refuses([x, *weights])


def residual_mamba(
    x_BxLxD: Float[Tensor, "b l d"],
    weights: MambaWeights,
    eps: float = 1e-5,
    *,
    state: State | None = None,
    backend: str = "auto",
) -> tuple[Float[Tensor, "b l d"], State | None]:
    """Return x + mixer(RMSNorm(x)), with gradients for x and the weights, and None.

    Given a state, for decoding, return the state after the last token instead of None, without gradients.
    state: the convolution's last inputs (BxKxI), the scan's state (BxIxN); None: the state before any token.

    Raises:
        ValueError: for an unknown backend, or weights or a state of the wrong shape.
        RuntimeError: if the named backend cannot run these tensors.
    """
    _check(x_BxLxD, weights, state)
    chosen = choose("a residual Mamba layer", backends(), backend, [x_BxLxD, *weights, *(state or ())])
    y_BxLxD, later = chosen.residual_mamba(x_BxLxD, weights, eps, state)
    return y_BxLxD, None if state is None else later


def residual_mamba_step(
    x_BxD: Float[Tensor, "b d"], weights: MambaWeights, state: State, eps: float = 1e-5, *, backend: str = "auto"
) -> tuple[Float[Tensor, "b d"], State]:
    """One decode step of `residual_mamba`: the output, and the new state, which may overwrite the one passed in.

    Without gradients.  Raises: as `residual_mamba`.
    """
    _check(x_BxD, weights, state)
    chosen = choose("a residual Mamba layer, one step", backends(), backend, [x_BxD, *weights, *state])
    return chosen.residual_mamba_step(x_BxD, weights, state, eps)


def _check(x: Tensor, weights: MambaWeights, state: State | None) -> None:
    width, (inner, taps), states, rank = x.shape[-1], weights.filter.shape, weights.A.shape[1], weights.dt_proj.shape[1]
    shapes: dict[str, tuple[int, ...]] = {
        "gain": (width,),
        "in_proj": (2 * inner, width),
        "filter_bias": (inner,),
        "x_proj": (rank + 2 * states, inner),
        "dt_proj": (inner, rank),
        "dt_bias": (inner,),
        "A": (inner, states),
        "D": (inner,),
        "out_proj": (width, inner),
    }
    check_shapes({name: (getattr(weights, name), shape) for name, shape in shapes.items()})
    if state is not None:
        window, ssm = (len(x), taps - 1, inner), (len(x), inner, states)
        check_shapes({"the convolution's state": (state[0], window), "the scan's state": (state[1], ssm)})
