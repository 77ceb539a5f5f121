"""Selective scan (Mamba): one function, several backends, chosen here.

Legend: B batch, L time, D channels, N states per channel.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from types import ModuleType

from jaxtyping import Float
from torch import Tensor

from retrieval_gap.choices import BackendName
from retrieval_gap.kernels.dispatch import (
    Backend,
    choose,
    describe,
    find_cpu_backend,
    find_triton_backend,
    refuse_strided_rows,
    refuse_what_triton_cannot_take,
)
from retrieval_gap.kernels.selective_scan import mamba_ssm, naive
from retrieval_gap.machine.errors import UsageError

__all__ = [
    "BackendName",
    "available_backends",
    "chosen_backend",
    "selective_scan",
    "selective_scan_step",
    "use_backend",
]

MOST_STATES = 256
_chosen: ContextVar[BackendName] = ContextVar("selective_scan_backend", default="auto")


@cache
def _backends() -> dict[str, Backend]:
    """Fastest first: `auto` takes the first that accepts the tensors."""
    return {
        "triton": find_triton_backend(f"{__name__}.triton", _refuse_for_triton),
        "mamba_ssm": mamba_ssm.find_backend(),
        "cpu": find_cpu_backend(f"{__name__}.cpu"),
        "naive": Backend(module=naive),
    }


def _refuse_for_triton(tensors: list[Tensor]) -> str | None:
    states = tensors[2].shape[1]
    if states > MOST_STATES:
        return f"it keeps at most {MOST_STATES} states a channel in registers, not {states}"
    if tensors[0].shape[0] == 0 or tensors[0].shape[-1] == 0 or states == 0:
        return f"x of shape {tuple(tensors[0].shape)} with {states} states has nothing to scan"
    like_x = [tensor for tensor in tensors[6:] if tensor.shape == tensors[0].shape]  # z
    return refuse_what_triton_cannot_take(tensors) or refuse_strided_rows([*tensors[:2], *tensors[3:5], *like_x])


@contextmanager
def use_backend(name: BackendName) -> Iterator[None]:
    """What `backend="auto"` means in this context: how to compute, for a whole program; results agree to rounding.

    Raises UsageError where this machine does not have the backend.
    """
    if name != "auto" and (missing := _backends()[name].missing):
        raise UsageError(f"scan backend {name} cannot be used here: {missing}")
    token = _chosen.set(name)
    try:
        yield
    finally:
        _chosen.reset(token)


def chosen_backend() -> BackendName:
    """What `use_backend` chose here; "auto" outside it."""
    return _chosen.get()


def available_backends() -> dict[str, str]:
    """What this machine offers: the name of each backend -> "available", or the reason why not."""
    return describe(_backends())


def _check_shapes(x: Tensor, A: Tensor, same_as_x: dict[str, Tensor | None], per_state: dict[str, Tensor]) -> None:
    channels, states = A.shape
    if x.shape[-1] != channels:
        raise ValueError(f"x has {x.shape[-1]} channels and A has {channels}: they must agree")
    for name, tensor in same_as_x.items():
        if tensor is not None and tensor.shape != x.shape:
            raise ValueError(f"{name} has shape {tuple(tensor.shape)}; it must be that of x, {tuple(x.shape)}")
    for name, tensor in per_state.items():
        if tensor.shape != (*x.shape[:-1], states):
            raise ValueError(
                f"{name} has shape {tuple(tensor.shape)}; it must be that of x, but with {states} (A's states) last"
            )


def _check_sizes(D: Tensor, bias: Tensor | None, state: Tensor | None, batch: int, A: Tensor) -> None:
    channels, states = A.shape
    wanted = (
        ("D", D, (channels,)),
        ("delta_bias", bias, (channels,)),
        ("state", state, (batch, channels, states)),
    )
    for name, tensor, shape in wanted:
        if tensor is not None and tensor.shape != shape:
            raise ValueError(f"{name} has shape {tuple(tensor.shape)}; it must be {shape}")


def selective_scan(
    x_BxLxD: Float[Tensor, "B L D"],
    delta_BxLxD: Float[Tensor, "B L D"],
    A_DxN: Float[Tensor, "D N"],
    B_BxLxN: Float[Tensor, "B L N"],
    C_BxLxN: Float[Tensor, "B L N"],
    D_D: Float[Tensor, "D"],
    z_BxLxD: Float[Tensor, "B L D"] | None = None,
    delta_bias_D: Float[Tensor, "D"] | None = None,
    *,
    initial_state_BxDxN: Float[Tensor, "B D N"] | None = None,
    backend: str = "auto",
) -> tuple[Float[Tensor, "B L D"], Float[Tensor, "B D N"]]:
    """Run a diagonal state space whose steps depend on the input, over whole sequences.

        step_t = softplus(delta_t + delta_bias)
        h_t    = exp(step_t A) h_{t-1} + step_t B_t x_t         (h_0 = initial_state, zeros unless given)
        y_t    = (<h_t, C_t> + D x_t) silu(z_t)                 (no silu factor unless z is given)

    Any strides will do as long as the last axis is contiguous. Gradients flow to every input from both outputs.
    Source: Gu & Dao 2023 (arXiv 2312.00752), algorithm 2 and section 3.3.

    Args:
        backend: "auto" (what `use_backend` chose, else the fastest that accepts these tensors) or a name in
            `available_backends()`.

    Returns:
        y_BxLxD, and the state after the last step (BxDxN): pass it as `initial_state_BxDxN` to go on.

    Raises:
        ValueError: on shapes that do not fit together, or an unknown backend.
        RuntimeError: if the backend that was asked for by name cannot run these tensors.
    """
    _check_shapes(x_BxLxD, A_DxN, {"delta": delta_BxLxD, "z": z_BxLxD}, {"B": B_BxLxN, "C": C_BxLxN})
    _check_sizes(D_D, delta_bias_D, initial_state_BxDxN, x_BxLxD.shape[0], A_DxN)
    arguments = [
        *(x_BxLxD, delta_BxLxD, A_DxN, B_BxLxN, C_BxLxN, D_D),
        *(z_BxLxD, delta_bias_D, initial_state_BxDxN),
    ]
    return _module("selective scan", backend, arguments).selective_scan(*arguments)


def selective_scan_step(
    x_BxD: Float[Tensor, "B D"],
    delta_BxD: Float[Tensor, "B D"],
    A_DxN: Float[Tensor, "D N"],
    B_BxN: Float[Tensor, "B N"],
    C_BxN: Float[Tensor, "B N"],
    D_D: Float[Tensor, "D"],
    z_BxD: Float[Tensor, "B D"] | None,
    delta_bias_D: Float[Tensor, "D"] | None,
    state_BxDxN: Float[Tensor, "B D N"],
    *,
    reuse_state: bool = False,
    backend: str = "auto",
) -> tuple[Float[Tensor, "B D"], Float[Tensor, "B D N"]]:
    """One step of `selective_scan`, for decoding: the output, and the new state.

    reuse_state: the new state may be written over the one passed in, which is left alone otherwise.
    """
    _check_shapes(x_BxD, A_DxN, {"delta": delta_BxD, "z": z_BxD}, {"B": B_BxN, "C": C_BxN})
    _check_sizes(D_D, delta_bias_D, state_BxDxN, x_BxD.shape[0], A_DxN)
    arguments = [x_BxD, delta_BxD, A_DxN, B_BxN, C_BxN, D_D, z_BxD, delta_bias_D, state_BxDxN]
    return _module("selective scan step", backend, arguments).selective_scan_step(*arguments, reuse_state)


def _module(kernel: str, backend: str, arguments: list[Tensor | None]) -> ModuleType:
    return choose(kernel, _backends(), _chosen.get() if backend == "auto" else backend, arguments)
