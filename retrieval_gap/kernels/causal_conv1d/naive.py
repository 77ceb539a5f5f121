"""Causal depthwise convolution in plain PyTorch: any dtype, any device, any width; gradients by autograd.

Legend: B batch, L time, D channels, K width of the filter; a state is the last K - 1 inputs, in time order.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import conv1d, pad, silu


def last_inputs(x_BxLxD: Tensor, state_BxKxD: Tensor | None, count: int) -> Tensor:
    """The last `count` inputs; those that a short sequence lacks come from the state before it (zeros if None)."""
    if x_BxLxD.shape[1] >= count:
        return x_BxLxD[:, x_BxLxD.shape[1] - count :]
    if state_BxKxD is None:
        return pad(x_BxLxD, (0, 0, count - x_BxLxD.shape[1], 0))
    return torch.cat([state_BxKxD, x_BxLxD], 1)[:, -count:]


def causal_conv1d(
    x_BxLxD: Tensor, weight_DxK: Tensor, bias_D: Tensor, initial_state_BxKxD: Tensor | None, with_silu: bool = True
) -> tuple[Tensor, Tensor]:
    """The outputs, and the last inputs. See `retrieval_gap.kernels.causal_conv1d`."""
    before = weight_DxK.shape[1] - 1
    if initial_state_BxKxD is None:
        initial_state_BxKxD = x_BxLxD.new_zeros(x_BxLxD.shape[0], before, x_BxLxD.shape[2])
    window_BxDxT = torch.cat([initial_state_BxKxD, x_BxLxD], dim=1).mT
    y_BxDxL = conv1d(window_BxDxT, weight_DxK[:, None], bias_D, groups=len(bias_D))
    y_BxLxD = (silu(y_BxDxL) if with_silu else y_BxDxL).mT
    return y_BxLxD, last_inputs(x_BxLxD, initial_state_BxKxD, before)
