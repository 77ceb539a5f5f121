"""A linear read-out of a text's first state, in BERT that of [CLS]."""

from retrieval_gap.heads.linear import Linear


class First(Linear):
    pools = ("first",)
    reads_order = True  # only of which state is first
    labels_tokens = False


HEAD = First
