"""The base of recurrent heads: one layer, in one direction or both, that never reads padding.

Texts are padded on the right, so the forward direction reads the tokens first; the backward direction reads each text
reversed within its own length.  Padding affects neither a token's features nor the final state.
"""

from typing import ClassVar

import torch
from torch import Tensor, nn

from retrieval_gap.heads.head import Head, HeadShape
from retrieval_gap.heads.pooling import first, last, reversed_texts


class Recurrent(Head):
    """layer: the kind of cell.  both_ways: whether there is a backward direction; it has the smaller half of the units.

    The pool `final` is each direction's state after its last token.
    """

    pools = ("final", "mean", "max", "first", "last")
    reads_order = True
    layer: ClassVar[type[nn.GRU] | type[nn.LSTM]]
    both_ways: ClassVar[bool] = False

    def __init__(self, shape: HeadShape) -> None:
        super().__init__(shape)
        backward_units = shape.width // 2 if self.both_ways else 0
        self.units = shape.width - backward_units
        self.ahead = self.layer(shape.d_states, self.units, batch_first=True)
        self.backward_layer = self.layer(shape.d_states, backward_units, batch_first=True) if backward_units else None

    def features(self, states_BxLxD: Tensor, mask_BxL: Tensor) -> Tensor:
        ahead_BxLxU, _ = self.ahead(states_BxLxD)
        if self.backward_layer is None:
            return ahead_BxLxU
        back_BxLxU, _ = self.backward_layer(reversed_texts(states_BxLxD, mask_BxL))
        return torch.cat([ahead_BxLxU, reversed_texts(back_BxLxU, mask_BxL)], -1)

    def pooled(self, features_BxLxF: Tensor, mask_BxL: Tensor) -> Tensor:
        if self.shape.pool != "final":
            return super().pooled(features_BxLxF, mask_BxL)
        ahead, back = features_BxLxF[..., : self.units], features_BxLxF[..., self.units :]
        return torch.cat([last(ahead, mask_BxL), first(back, mask_BxL)], -1)
