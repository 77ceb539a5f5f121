"""A linear read-out of the largest value of each element over a text's states."""

from retrieval_gap.heads.linear import Linear


class Max(Linear):
    pools = ("max",)
    labels_tokens = False


HEAD = Max
