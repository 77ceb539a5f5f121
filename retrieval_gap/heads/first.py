"""A linear read-out of a text's first state: of BERT, that of [CLS]."""

from retrieval_gap.heads.linear import Linear


class First(Linear):
    pools = ("first",)
    reads_order = True  # not of all states, but of which comes there
    labels_tokens = False


HEAD = First
