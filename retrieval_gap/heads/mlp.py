"""A multilayer perceptron on the mean and the maximum of a text's states, or on each token's state."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from retrieval_gap.heads import pooling
from retrieval_gap.heads.head import Head, HeadShape


class MLP(Head):
    pools = ("mean_max", "token")
    reads_order = False

    def __init__(self, shape: HeadShape) -> None:
        super().__init__(shape)
        read = 1 if shape.pool == "token" else 2
        self.hidden = nn.Linear(read * shape.d_states, shape.width)

    def features(self, states_BxLxD: Tensor, mask_BxL: Tensor) -> Tensor:
        return states_BxLxD

    def pooled(self, features_BxLxF: Tensor, mask_BxL: Tensor) -> Tensor:
        both = [pool(features_BxLxF, mask_BxL) for pool in (pooling.mean, pooling.largest)]
        return F.gelu(self.hidden(torch.cat(both, -1)))

    def token_features(self, states_BxLxD: Tensor, mask_BxL: Tensor) -> Tensor:
        return F.gelu(self.hidden(states_BxLxD))


HEAD = MLP
