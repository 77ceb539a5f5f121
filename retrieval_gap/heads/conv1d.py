"""A convolution over three neighbouring states, then the maximum over time (Kim 2014, arXiv 1408.5882)."""

from torch import Tensor, nn
from torch.nn import functional as F

from retrieval_gap.heads.head import Head, HeadShape

REACH = 3


class Conv1d(Head):
    pools = ("max", "mean", "first", "last")
    reads_order = True

    def __init__(self, shape: HeadShape) -> None:
        super().__init__(shape)
        self.convolution = nn.Conv1d(shape.d_states, shape.width, REACH, padding=REACH // 2)

    def features(self, states_BxLxD: Tensor, mask_BxL: Tensor) -> Tensor:
        real_BxLxD = states_BxLxD.masked_fill(~mask_BxL[..., None], 0)
        return F.relu(self.convolution(real_BxLxD.transpose(1, 2))).transpose(1, 2)


HEAD = Conv1d
