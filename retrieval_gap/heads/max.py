"""A linear read-out of the elementwise maximum of a text's states."""

from retrieval_gap.heads.linear import Linear


class Max(Linear):
    pools = ("max",)
    labels_tokens = False


HEAD = Max
