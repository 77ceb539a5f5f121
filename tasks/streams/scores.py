"""How a prediction is judged, by kind of target."""

import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from .stream import Target, Value

TOP = 5
# Larger numbers are neither answers nor truths: squares of smaller ones, and their sums, are finite.
LARGEST_NUMBER = 1e100


@dataclass(frozen=True, kw_only=True)
class Judged:
    """value: methods are compared by it, higher is better.  right: None for kinds without right and wrong.
    measures: the kind's own, by name."""

    value: float
    right: bool | None
    measures: Mapping[str, float]


def judge(target: Target, predicted: Value | None, truth: Value) -> Judged:
    """Score a prediction against the truth; None is an answer that could not be read, and counts as wrong.

    choice: right.  ranked: Acc@1 and Acc@5 of the first true code.  text: exact and graded match (F1 of words, after
    SQuAD's).  number: squared and absolute error, and whether the sign is right; the value is the negative absolute
    error; without a readable number all of them are NaN.
    """
    if target.kind == "number":
        return _number(predicted, truth)
    if target.kind == "ranked":
        codes = predicted if isinstance(predicted, tuple) else ()
        first = truth[0] if isinstance(truth, tuple) and truth else ""
        at_1, at_5 = float(codes[:1] == (first,)), float(first in codes[:TOP])
        return Judged(value=at_1, right=at_1 == 1, measures={"acc_at_1": at_1, "acc_at_5": at_5})
    if target.kind == "text":
        exact, graded = float(_words(predicted) == _words(truth)), word_f1(_words(predicted), _words(truth))
        return Judged(value=graded, right=exact == 1, measures={"exact": exact, "graded": graded})
    right = predicted == truth
    return Judged(value=float(right), right=right, measures={"right": float(right)})


def word_f1(first: list[str], second: list[str]) -> float:
    """Harmonic mean of precision and recall of words; 0 if no word is common."""
    common = sum((Counter(first) & Counter(second)).values())
    return 2 * common / (len(first) + len(second)) if common else 0.0


def _number(predicted: Value | None, truth: Value) -> Judged:
    if not isinstance(predicted, float | int) or not isinstance(truth, float | int):
        nothing = dict.fromkeys(("squared", "absolute", "direction"), math.nan)
        return Judged(value=math.nan, right=None, measures=nothing)
    error = float(predicted) - truth
    direction = float((predicted > 0) == (truth > 0))
    return Judged(
        value=-abs(error),
        right=None,
        measures={"squared": error * error, "absolute": abs(error), "direction": direction},
    )


def _words(text: Value | None) -> list[str]:
    return re.findall(r"[\w.]+", text.casefold()) if isinstance(text, str) else []
