"""Attention pooling: a weighted mean of the states; a small network computes each weight from its state alone.

Yang et al. 2016, "Hierarchical attention networks for document classification", equations 5 to 7.  Like a recurrent
head it can find a token, but it does not see order: the control for recurrent heads.
"""

from torch import Tensor, nn

from retrieval_gap.heads.head import Head, HeadShape


class AttentionPooling(Head):
    pools = ()
    reads_order = False
    labels_tokens = False

    def __init__(self, shape: HeadShape) -> None:
        super().__init__(shape, shape.d_states)
        self.hidden = nn.Linear(shape.d_states, shape.width)
        self.weight = nn.Linear(shape.width, 1, bias=False)

    def features(self, states_BxLxD: Tensor, mask_BxL: Tensor) -> Tensor:
        return states_BxLxD

    def pooled(self, features_BxLxF: Tensor, mask_BxL: Tensor) -> Tensor:
        score_BxL = self.weight(self.hidden(features_BxLxF).tanh())[..., 0]
        weight_BxL = score_BxL.masked_fill(~mask_BxL, float("-inf")).softmax(1)
        return (weight_BxL[..., None] * features_BxLxF.masked_fill(~mask_BxL[..., None], 0)).sum(1)


HEAD = AttentionPooling
