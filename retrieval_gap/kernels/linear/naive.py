"""A linear layer as PyTorch has it: any dtype, any device; on a CPU its products are those of MKL."""

from torch import Tensor
from torch.nn import functional as F


def linear(x_RxD: Tensor, weight_FxD: Tensor) -> Tensor:
    """See `retrieval_gap.kernels.linear`."""
    return F.linear(x_RxD, weight_FxD)
