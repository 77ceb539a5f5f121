"""A residual Mamba layer in plain PyTorch: any dtype, any device, gradients by autograd.

Legend: B batch, L time, D model width, I inner width, K inputs before a step that the convolution sees, N states per
channel, R rank of delta.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor
from torch.nn import functional as F

from retrieval_gap.kernels.causal_conv1d import naive as conv
from retrieval_gap.kernels.selective_scan import naive as scan
from retrieval_gap.kernels.selective_scan.inputs import ScanInputs


class MambaWeights(NamedTuple):
    """The norm's gain (D), in_proj (2I x D), filter (I x 4) and its bias (I), x_proj (R + 2N x I: delta, B, C), dt_proj
    (I x R) and its bias (I), A (I x N), D (I), out_proj (D x I)."""

    gain: Tensor
    in_proj: Tensor
    filter: Tensor
    filter_bias: Tensor
    x_proj: Tensor
    dt_proj: Tensor
    dt_bias: Tensor
    A: Tensor
    D: Tensor
    out_proj: Tensor


State = tuple[Tensor, Tensor]


def residual_mamba(x_BxLxD: Tensor, weights: MambaWeights, eps: float, state: State | None) -> tuple[Tensor, State]:
    """See `retrieval_gap.kernels.mamba`."""
    window, ssm = state or (None, None)
    u, z = F.linear(F.rms_norm(x_BxLxD, weights.gain.shape, weights.gain, eps), weights.in_proj).chunk(2, -1)
    u, window_BxKxI = conv.causal_conv1d(u, weights.filter, weights.filter_bias, window)
    y, ssm_BxIxN = scan.selective_scan(_scan_inputs(u, z, weights, ssm))
    return x_BxLxD + F.linear(y, weights.out_proj), (window_BxKxI, ssm_BxIxN)


def residual_mamba_step(x_BxD: Tensor, weights: MambaWeights, state: State, eps: float) -> tuple[Tensor, State]:
    """See `retrieval_gap.kernels.mamba`."""
    y_Bx1xD, state = residual_mamba(x_BxD[:, None], weights, eps, state)
    return y_Bx1xD[:, 0], state


def _scan_inputs(u: Tensor, z: Tensor, weights: MambaWeights, ssm: Tensor | None) -> ScanInputs:
    rank, states = weights.dt_proj.shape[1], weights.A.shape[1]
    dt, B, C = F.linear(u, weights.x_proj).split([rank, states, states], -1)
    return ScanInputs(u, F.linear(dt, weights.dt_proj), weights.A, B, C, weights.D, z, weights.dt_bias, ssm)
