"""A linear read-out of a text's last state."""

from retrieval_gap.heads.linear import Linear


class Last(Linear):
    pools = ("last",)
    reads_order = True  # only of which state is last
    labels_tokens = False


HEAD = Last
