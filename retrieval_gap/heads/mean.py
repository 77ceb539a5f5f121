"""A linear read-out of the mean of a text's states."""

from retrieval_gap.heads.linear import Linear


class Mean(Linear):
    pools = ("mean",)
    labels_tokens = False


HEAD = Mean
