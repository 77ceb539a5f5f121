"""The CUDA kernel of the public package `mamba_ssm` as a backend for comparison, chosen by name only.

Legend: B batch, L time, D channels, N states per channel.

Source: `selective_scan_fn` of github.com/state-spaces/mamba, which takes (B, D, L), accepts no initial
state and gives no gradient through the final one.
"""

from __future__ import annotations

import importlib.util
import math
import sys
from typing import Any

import torch
from torch import Tensor

from retrieval_gap.kernels import dispatch
from retrieval_gap.kernels.selective_scan.inputs import ScanInputs

EXTENSION = "selective_scan_cuda"
# Size of the steps that write an initial state: so small that the decay between them does not affect rounding.
SMALL_STEP = 2.0**-10


def find_backend() -> dispatch.Backend:
    """Distinguish "not installed" from "installed without its compiled extension", without importing either."""
    missing = None
    if importlib.util.find_spec("mamba_ssm") is None:
        missing = "mamba_ssm is not installed"
    elif importlib.util.find_spec(EXTENSION) is None:
        missing = f"mamba_ssm is installed, but not its compiled extension {EXTENSION}"
    elif not torch.cuda.is_available():
        missing = "torch finds no CUDA device"
    return dispatch.Backend(module=sys.modules[__name__], missing=missing, refuses=_refuse, by_name=True)


def _refuse(tensors: list[Tensor]) -> str | None:
    on_cpu = next((tensor for tensor in tensors if not tensor.is_cuda), None)
    if on_cpu is not None:
        return f"it takes tensors on a CUDA device, and one is on {on_cpu.device}"
    states = tensors[2].shape[1]
    return f"it takes at most 256 states a channel, not {states}" if states > 256 else None


def selective_scan(inputs: ScanInputs) -> tuple[Tensor, Tensor]:
    """Outputs at every step, and the state after the last. See `retrieval_gap.kernels.selective_scan`.

    A gradient that reaches the final state raises RuntimeError: the package cannot propagate it.
    """
    from mamba_ssm.ops.selective_scan_interface import selective_scan_fn

    x_BxLxD, delta_BxLxD, A_DxN, B_BxLxN, C_BxLxN, D_D, z_BxLxD, delta_bias_D, initial_state_BxDxN = inputs
    timed: list[Tensor | None] = [x_BxLxD, delta_BxLxD, B_BxLxN, C_BxLxN, z_BxLxD]
    written = 0
    if initial_state_BxDxN is not None:
        written = A_DxN.shape[1]
        first = _steps_that_write(initial_state_BxDxN, A_DxN, delta_bias_D)
        timed = [None if t is None else torch.cat([f.to(t.dtype), t], 1) for f, t in zip(first, timed, strict=True)]
    x, delta, B, C, z = (None if t is None else t.to(x_BxLxD.dtype).transpose(1, 2) for t in timed)
    A, D, bias = (None if t is None else t.float() for t in (A_DxN, D_D, delta_bias_D))
    y_BxDxL, state_BxDxN = selective_scan_fn(x, delta, A, B, C, D, z, bias, delta_softplus=True, return_last_state=True)
    return y_BxDxL[..., written:].transpose(1, 2), _NoGradient.apply(state_BxDxN)


def _steps_that_write(state_BxDxN: Tensor, A_DxN: Tensor, bias_D: Tensor | None) -> tuple[Tensor, ...]:
    """x, delta, B, C and z of N steps that turn a state of zeros into `state`.

    Step n adds to state n alone (B is one-hot), scaled up by as much as the later steps will make it decay.
    """
    batch, channels, states = state_BxDxN.shape
    later_N = torch.arange(states - 1, -1, -1, device=A_DxN.device)
    x_BxDxN = state_BxDxN / SMALL_STEP * torch.exp(-SMALL_STEP * later_N * A_DxN)
    raw_D = math.log(math.expm1(SMALL_STEP)) - (torch.zeros_like(A_DxN[:, 0]) if bias_D is None else bias_D)
    B_NxN = torch.eye(states, dtype=A_DxN.dtype, device=A_DxN.device)
    zeros_BxNxN, zeros_BxNxD = A_DxN.new_zeros(batch, states, states), A_DxN.new_zeros(batch, states, channels)
    delta_BxNxD = raw_D.expand(batch, states, channels)
    return x_BxDxN.transpose(1, 2), delta_BxNxD, B_NxN.expand(batch, -1, -1), zeros_BxNxN, zeros_BxNxD


class _NoGradient(torch.autograd.Function):
    """The identity; a gradient raises RuntimeError, so that none is lost in silence."""

    @staticmethod
    def forward(ctx: Any, state: Tensor) -> Tensor:
        ctx.set_materialize_grads(False)
        return state.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None) -> None:
        if grad is not None:
            raise RuntimeError("mamba_ssm gives no gradient through the final state; choose another scan backend")
