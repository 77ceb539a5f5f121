"""Two GRUs over the states, one from each end."""

from torch import nn

from retrieval_gap.heads.recurrent import Recurrent


class BiGRUHead(Recurrent):
    layer = nn.GRU
    both_ways = True


HEAD = BiGRUHead
