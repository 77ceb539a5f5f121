"""Selective scan as the paper writes it: step by step, in plain PyTorch.

Legend: B batch, L time, D channels, N states per channel.

The definition that the other backends are tested against: any dtype, any device, gradients by autograd. Gu & Dao 2023
(arXiv 2312.00752), equation 2a and algorithm 2, with the discretisation their code uses (zero-order hold for A, Euler
for B).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import silu, softplus

from retrieval_gap.kernels.selective_scan.inputs import ScanInputs


def selective_scan(inputs: ScanInputs) -> tuple[Tensor, Tensor]:
    """Outputs at every step, and the state after the last. See `retrieval_gap.kernels.selective_scan`."""
    x_BxLxD, delta_BxLxD, A_DxN, B_BxLxN, C_BxLxN, D_D, z_BxLxD, bias_D, state_BxDxN = inputs
    batch, length, channels = x_BxLxD.shape
    if state_BxDxN is None:
        state_BxDxN = x_BxLxD.new_zeros(batch, channels, A_DxN.shape[1])
    outputs = []
    for t in range(length):
        z_BxD = None if z_BxLxD is None else z_BxLxD[:, t]
        timed = (x_BxLxD[:, t], delta_BxLxD[:, t], A_DxN, B_BxLxN[:, t], C_BxLxN[:, t])
        y_BxD, state_BxDxN = selective_scan_step(ScanInputs(*timed, D_D, z_BxD, bias_D, state_BxDxN))
        outputs.append(y_BxD)
    return (torch.stack(outputs, dim=1) if outputs else torch.empty_like(x_BxLxD)), state_BxDxN


def selective_scan_step(inputs: ScanInputs) -> tuple[Tensor, Tensor]:
    """One step: h = exp(delta A) h + delta B x; y = (<h, C> + D x) silu(z)."""
    x_BxD, delta_BxD, A_DxN, B_BxN, C_BxN, D_D, z_BxD, bias_D, state_BxDxN = inputs
    assert state_BxDxN is not None
    step_BxD = softplus(delta_BxD if bias_D is None else delta_BxD + bias_D)
    decay_BxDxN = torch.exp(step_BxD[..., None] * A_DxN)
    state_BxDxN = decay_BxDxN * state_BxDxN + (step_BxD * x_BxD)[..., None] * B_BxN[:, None, :]
    y_BxD = torch.einsum("bdn,bn->bd", state_BxDxN, C_BxN) + D_D * x_BxD
    return (y_BxD if z_BxD is None else y_BxD * silu(z_BxD)), state_BxDxN
