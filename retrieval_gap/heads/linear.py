"""A linear read-out of pooled states, or of each token: two matrices with nothing between them, so that it has as many
parameters as other heads and is still linear."""

from torch import Tensor, nn

from retrieval_gap.heads.head import Head, HeadShape


class Linear(Head):
    reads_order = False

    def __init__(self, shape: HeadShape) -> None:
        super().__init__(shape)
        self.project = nn.Linear(shape.d_states, shape.width)

    def features(self, states_BxLxD: Tensor, mask_BxL: Tensor) -> Tensor:
        return states_BxLxD

    def pooled(self, features_BxLxF: Tensor, mask_BxL: Tensor) -> Tensor:
        return self.project(super().pooled(features_BxLxF, mask_BxL))

    def token_features(self, states_BxLxD: Tensor, mask_BxL: Tensor) -> Tensor:
        return self.project(states_BxLxD)


HEAD = Linear
