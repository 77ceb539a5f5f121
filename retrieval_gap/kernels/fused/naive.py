"""RMSNorm and SwiGLU in plain PyTorch: any dtype, any device, gradients by autograd.

Legend: R rows (any number of leading axes), D channels, H half of the channels.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def rms_norm(x_RxD: Tensor, weight_D: Tensor, eps: float) -> Tensor:
    """See `retrieval_gap.kernels.fused`."""
    return F.rms_norm(x_RxD, weight_D.shape, weight_D.to(x_RxD.dtype), eps)


def swiglu(gate_up_Rx2H: Tensor) -> Tensor:
    """See `retrieval_gap.kernels.fused`."""
    gate_RxH, up_RxH = gate_up_Rx2H.chunk(2, -1)
    return F.silu(gate_RxH) * up_RxH
