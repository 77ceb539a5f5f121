"""Spans of BIO tags, and their F1: a span counts if its type, first and last word are all right.

The definition is that of the CoNLL-2000 evaluation script and of `seqeval`: a span begins at a B tag, and at an I tag
after an O or after another type.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple


class Span(NamedTuple):
    kind: str
    first: int
    last: int


def spans(tags: Sequence[str]) -> set[Span]:
    """The spans of one sentence's tags, such as O, B-Disease, I-Disease."""
    found: set[Span] = set()
    begun, open_kind = 0, ""
    for place, tag in enumerate([*tags, "O"]):
        prefix, _, kind = tag.partition("-")
        goes_on = prefix == "I" and kind == open_kind
        if open_kind and not goes_on:
            found.add(Span(open_kind, begun, place - 1))
            open_kind = ""
        if prefix != "O" and not goes_on:
            begun, open_kind = place, kind
    return found


class SpanCounts(NamedTuple):
    """Numbers of right spans, predicted spans and true spans."""

    right: int
    said: int
    true: int

    @property
    def f1(self) -> float:
        """2 right / (said + true); 0 if there are neither, as in `seqeval`."""
        return 2 * self.right / (self.said + self.true) if self.said + self.true else 0.0


def count_spans(true: Sequence[str], said: Sequence[str]) -> SpanCounts:
    """The counts of one sentence.  Raises ValueError if the two have different lengths."""
    if len(true) != len(said):
        raise ValueError(f"{len(true)} true tags, {len(said)} predicted")
    there, told = spans(true), spans(said)
    return SpanCounts(len(there & told), len(told), len(there))


def span_f1(true: Iterable[Sequence[str]], said: Iterable[Sequence[str]]) -> float:
    """Micro-averaged F1 of spans over sentences."""
    counts = [count_spans(*pair) for pair in zip(true, said, strict=True)]
    return SpanCounts(*(sum(column) for column in zip(*counts, strict=True))).f1 if counts else 0.0
