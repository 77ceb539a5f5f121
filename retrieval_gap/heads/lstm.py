"""An LSTM over the states, from the first token to the last."""

from torch import nn

from retrieval_gap.heads.recurrent import Recurrent


class LSTMHead(Recurrent):
    layer = nn.LSTM


HEAD = LSTMHead
