"""Two LSTMs over the states, one from each end."""

from torch import nn

from retrieval_gap.heads.recurrent import Recurrent


class BiLSTMHead(Recurrent):
    layer = nn.LSTM
    both_ways = True


HEAD = BiLSTMHead
