"""Causal depthwise convolution in plain PyTorch: any dtype, any device, any width; gradients by autograd.

Legend: B batch, L time, D channels, K width of the filter; a state is the last K - 1 inputs, in time's order.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import conv1d, silu


def causal_conv1d(
    x_BxLxD: Tensor, weight_DxK: Tensor, bias_D: Tensor, initial_state_BxDxK: Tensor | None, with_silu: bool
) -> tuple[Tensor, Tensor]:
    """The outputs, and the last inputs. See `retrieval_gap.kernels.causal_conv1d`."""
    width = weight_DxK.shape[1]
    if initial_state_BxDxK is None:
        initial_state_BxDxK = x_BxLxD.new_zeros(x_BxLxD.shape[0], x_BxLxD.shape[2], width - 1)
    window_BxDxT = torch.cat([initial_state_BxDxK, x_BxLxD.transpose(1, 2)], dim=2)
    y_BxDxL = conv1d(window_BxDxT, weight_DxK[:, None], bias_D, groups=len(bias_D))
    y_BxLxD = (silu(y_BxDxL) if with_silu else y_BxDxL).transpose(1, 2)
    return y_BxLxD, window_BxDxT[:, :, x_BxLxD.shape[1] :]


def causal_conv1d_step(
    x_BxD: Tensor, weight_DxK: Tensor, bias_D: Tensor, state_BxDxK: Tensor, with_silu: bool
) -> tuple[Tensor, Tensor]:
    """One step, and the state after it."""
    window_BxDxK = torch.cat([state_BxDxK, x_BxD[:, :, None]], dim=2)
    y_BxD = (window_BxDxK * weight_DxK).sum(2) + bias_D
    return (silu(y_BxD) if with_silu else y_BxD), window_BxDxK[:, :, 1:]
