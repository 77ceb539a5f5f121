"""RMSNorm in plain PyTorch: any dtype, any device, gradients by autograd."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def rms_norm(x_RxD: Tensor, weight_D: Tensor, eps: float) -> Tensor:
    """See `retrieval_gap.kernels.rms_norm`."""
    return F.rms_norm(x_RxD, weight_D.shape, weight_D.to(x_RxD.dtype), eps)
