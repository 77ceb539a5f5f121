"""One Mamba layer of this project over the states, from the first token to the last."""

from torch import Tensor, nn

from retrieval_gap.heads.head import Head, HeadShape
from retrieval_gap.models.mamba import MambaMixer
from retrieval_gap.models.mixer import Residual, RMSNorm


class MambaHead(Head):
    pools = ("last", "mean", "max", "first")
    reads_order = True

    def __init__(self, shape: HeadShape) -> None:
        super().__init__(shape)
        self.project = nn.Linear(shape.d_states, shape.width)
        self.mamba = Residual(shape.width, MambaMixer(shape.width))
        self.norm = RMSNorm(shape.width)

    def features(self, states_BxLxD: Tensor, mask_BxL: Tensor) -> Tensor:
        return self.norm(self.mamba(self.project(states_BxLxD)))


HEAD = MambaHead
