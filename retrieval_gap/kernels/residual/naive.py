"""The residual layers of a LLaMA block from the kernels they are made of: any dtype, any device, gradients by autograd.

Legend: B batch, L time, D model width, F feed-forward width, E head width.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from retrieval_gap.kernels.fused import rms_norm, swiglu
from retrieval_gap.kernels.rotary_attention import rotary_attention


def residual_swiglu(x_RxD: Tensor, gain_D: Tensor, gate_up_2FxD: Tensor, down_DxF: Tensor, eps: float) -> Tensor:
    """See `retrieval_gap.kernels.residual`."""
    return x_RxD + F.linear(swiglu(F.linear(rms_norm(x_RxD, gain_D, eps), gate_up_2FxD)), down_DxF)


def residual_attention(
    x_BxLxD: Tensor, gain_D: Tensor, qkv_3DxD: Tensor, out_DxD: Tensor, rope_LxE: Tensor, n_heads: int, eps: float
) -> Tensor:
    """See `retrieval_gap.kernels.residual`."""
    qkv_BxLx3D = F.linear(rms_norm(x_BxLxD, gain_D, eps), qkv_3DxD)
    return x_BxLxD + F.linear(rotary_attention(qkv_BxLx3D, rope_LxE, n_heads), out_DxD)
