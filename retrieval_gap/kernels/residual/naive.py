"""The residual layers of a LLaMA block from the kernels they are made of: any dtype, any device, gradients by autograd.

Legend: B batch, L time, D model width, F feed-forward width, E head width.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from retrieval_gap.kernels.fused import rms_norm, swiglu
from retrieval_gap.kernels.rotary_attention import rotary_attention
from retrieval_gap.kernels.rotary_attention.naive import split_heads


def residual_swiglu(x_RxD: Tensor, gain_D: Tensor, gate_up_2FxD: Tensor, down_DxF: Tensor, eps: float) -> Tensor:
    """See `retrieval_gap.kernels.residual`."""
    return x_RxD + F.linear(swiglu(F.linear(rms_norm(x_RxD, gain_D, eps), gate_up_2FxD)), down_DxF)


def residual_attention(
    x_BxLxD: Tensor, gain_D: Tensor, qkv_3DxD: Tensor, out_DxD: Tensor, rope_LxE: Tensor, n_heads: int, eps: float
) -> Tensor:
    """See `retrieval_gap.kernels.residual`."""
    qkv_BxLx3D = F.linear(rms_norm(x_BxLxD, gain_D, eps), qkv_3DxD)
    return x_BxLxD + F.linear(rotary_attention(qkv_BxLx3D, rope_LxE, n_heads), out_DxD)


def residual_attention_prefill(
    x_BxLxD: Tensor,
    gain_D: Tensor,
    qkv_3DxD: Tensor,
    out_DxD: Tensor,
    rope_LxE: Tensor,
    k_BxHxLxE: Tensor,
    v_BxHxLxE: Tensor,
    eps: float,
) -> Tensor:
    """See `retrieval_gap.kernels.residual`."""
    q, k, v = split_heads(F.linear(rms_norm(x_BxLxD, gain_D, eps), qkv_3DxD), rope_LxE, k_BxHxLxE.shape[1])
    k_BxHxLxE.copy_(k)
    v_BxHxLxE.copy_(v)
    y_BxHxLxE = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    return x_BxLxD + F.linear(y_BxHxLxE.transpose(1, 2).flatten(2), out_DxD)


def residual_attention_step(
    x_BxD: Tensor,
    gain_D: Tensor,
    qkv_3DxD: Tensor,
    out_DxD: Tensor,
    rope_E: Tensor,
    k_BxHxTxE: Tensor,
    v_BxHxTxE: Tensor,
    eps: float,
) -> Tensor:
    """See `retrieval_gap.kernels.residual`."""
    qkv_Bx1x3D = F.linear(rms_norm(x_BxD, gain_D, eps), qkv_3DxD)[:, None]
    q, k, v = split_heads(qkv_Bx1x3D, rope_E[None], k_BxHxTxE.shape[1])
    k_BxHxTxE[:, :, -1:] = k
    v_BxHxTxE[:, :, -1:] = v
    y_BxHx1xE = F.scaled_dot_product_attention(q, k_BxHxTxE, v_BxHxTxE)
    return x_BxD + F.linear(y_BxHx1xE.flatten(1), out_DxD)
