"""Selective scan (Mamba): one function, several backends, chosen here.

Legend: B batch, L time, D channels, N states per channel.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache

from jaxtyping import Float
from torch import Tensor

from retrieval_gap.choices import BackendName
from retrieval_gap.kernels import dispatch
from retrieval_gap.kernels.selective_scan import mamba_ssm, naive
from retrieval_gap.kernels.selective_scan.inputs import ScanInputs
from retrieval_gap.machine.errors import UsageError

__all__ = ["ScanInputs", "backends", "chosen_backend", "selective_scan", "selective_scan_step", "use_backend"]

MOST_STATES = 256
_chosen: ContextVar[BackendName] = ContextVar("selective_scan_backend", default="auto")


@cache
def backends() -> dict[str, dispatch.Backend]:
    """Fastest first: `auto` takes the first that accepts the tensors."""
    return {
        "triton": dispatch.find_triton_backend(f"{__name__}.triton", _refuse_for_triton),
        "mamba_ssm": mamba_ssm.find_backend(),
        **dispatch.cpu_and_naive(f"{__name__}.cpu", naive),
    }


def _refuse_for_triton(tensors: list[Tensor]) -> str | None:
    states = tensors[2].shape[1]
    if states > MOST_STATES:
        return f"it keeps at most {MOST_STATES} states a channel in registers, not {states}"
    if tensors[0].shape[0] == 0 or tensors[0].shape[-1] == 0 or states == 0:
        return f"x of shape {tuple(tensors[0].shape)} with {states} states has nothing to scan"
    like_x = [tensor for tensor in tensors[6:] if tensor.shape == tensors[0].shape]  # z
    rows = [*tensors[:2], *tensors[3:5], *like_x]
    return dispatch.refuse_what_triton_cannot_take(tensors) or dispatch.refuse_strided_rows(rows)


@contextmanager
def use_backend(name: BackendName) -> Iterator[None]:
    """Set what `backend="auto"` means inside this context, for a whole program; backends agree to rounding.

    Raises UsageError if this machine cannot use the backend.
    """
    if name != "auto" and (missing := backends()[name].missing):
        raise UsageError(f"scan backend {name} cannot be used here: {missing}")
    token = _chosen.set(name)
    try:
        yield
    finally:
        _chosen.reset(token)


def chosen_backend() -> BackendName:
    """The backend that `use_backend` set; "auto" outside it."""
    return _chosen.get()


def selective_scan(
    inputs: ScanInputs, *, backend: str = "auto"
) -> tuple[Float[Tensor, "B L D"], Float[Tensor, "B D N"]]:
    """Run a diagonal state space model with input-dependent steps over whole sequences.

        step_t = softplus(delta_t + delta_bias)
        h_t    = exp(step_t A) h_{t-1} + step_t B_t x_t         (h_0 = state, zeros unless given)
        y_t    = (<h_t, C_t> + D x_t) silu(z_t)                 (no silu factor unless z is given)

    Gradients flow to every input from both outputs.
    Source: Gu & Dao 2023 (arXiv 2312.00752), algorithm 2 and section 3.3.

    Args:
        backend: "auto" (the one that `use_backend` set, else the fastest that accepts these tensors) or a name in
            `backends()`.

    Returns:
        y_BxLxD, and the state after the last step (BxDxN): pass it as the next `state` to continue.

    Raises:
        ValueError: for shapes that do not match, or an unknown backend.
        RuntimeError: if the named backend cannot run these tensors.
    """
    inputs.check()
    backend = _chosen.get() if backend == "auto" else backend
    return dispatch.choose("selective scan", backends(), backend, inputs).selective_scan(inputs)


def selective_scan_step(
    inputs: ScanInputs, *, backend: str = "auto"
) -> tuple[Float[Tensor, "B D"], Float[Tensor, "B D N"]]:
    """One decode step of `selective_scan`: the output, and the new state.  inputs: without a time axis."""
    y_Bx1xD, state_BxDxN = selective_scan(inputs.of_one_step(), backend=backend)
    return y_Bx1xD[:, 0], state_BxDxN
