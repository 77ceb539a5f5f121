"""Selective scan as the paper writes it: one step after another, in plain PyTorch.

Legend: B batch, L time, D channels, N states per channel.

The definition that the other backends are tested against: any dtype, any device, gradients by autograd. Gu & Dao 2023
(arXiv 2312.00752), equation 2a and algorithm 2, with the discretisation their code uses (zero-order hold for A, Euler
for B).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import silu, softplus


def selective_scan(
    x_BxLxD: Tensor,
    delta_BxLxD: Tensor,
    A_DxN: Tensor,
    B_BxLxN: Tensor,
    C_BxLxN: Tensor,
    D_D: Tensor,
    z_BxLxD: Tensor | None = None,
    delta_bias_D: Tensor | None = None,
    initial_state_BxDxN: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Outputs at every step, and the state after the last. See `retrieval_gap.kernels.selective_scan`."""
    batch, length, channels = x_BxLxD.shape
    state_BxDxN = initial_state_BxDxN
    if state_BxDxN is None:
        state_BxDxN = x_BxLxD.new_zeros(batch, channels, A_DxN.shape[1])
    outputs = []
    for t in range(length):
        z_BxD = None if z_BxLxD is None else z_BxLxD[:, t]
        y_BxD, state_BxDxN = selective_scan_step(
            x_BxLxD[:, t],
            delta_BxLxD[:, t],
            A_DxN,
            B_BxLxN[:, t],
            C_BxLxN[:, t],
            D_D,
            z_BxD,
            delta_bias_D,
            state_BxDxN,
        )
        outputs.append(y_BxD)
    y_BxLxD = torch.stack(outputs, dim=1) if outputs else torch.empty_like(x_BxLxD)
    return y_BxLxD, state_BxDxN


def selective_scan_step(
    x_BxD: Tensor,
    delta_BxD: Tensor,
    A_DxN: Tensor,
    B_BxN: Tensor,
    C_BxN: Tensor,
    D_D: Tensor,
    z_BxD: Tensor | None,
    delta_bias_D: Tensor | None,
    state_BxDxN: Tensor,
    reuse_state: bool = False,
) -> tuple[Tensor, Tensor]:
    """One step: h = exp(delta A) h + delta B x; y = (<h, C> + D x) silu(z)."""
    step_BxD = softplus(delta_BxD if delta_bias_D is None else delta_BxD + delta_bias_D)
    decay_BxDxN = torch.exp(step_BxD[..., None] * A_DxN)
    state_BxDxN = decay_BxDxN * state_BxDxN + (step_BxD * x_BxD)[..., None] * B_BxN[:, None, :]
    y_BxD = torch.einsum("bdn,bn->bd", state_BxDxN, C_BxN) + D_D * x_BxD
    return (y_BxD if z_BxD is None else y_BxD * silu(z_BxD)), state_BxDxN
