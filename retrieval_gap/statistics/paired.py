"""Paired comparisons: two methods judged on the same items, which come in groups (streams, documents, tasks).

Items of one group depend on each other, so standard errors come from the cluster bootstrap, which resamples whole
groups (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, section 8; Field and Welsh, JRSS B 69, 2007).
Few groups show little of how much groups differ, so intervals and p-values use Student's distribution, with G - 1
degrees of freedom for G groups.
McNemar's test, Holm's correction and the bootstrap are written here because scipy and statsmodels are dependencies of
this package's tests alone, which compare these few lines with theirs.
"""

import math
from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np

from retrieval_gap.statistics.intervals import Interval, StandardError, wilson_interval
from retrieval_gap.statistics.ratios import DRAWS, Counts, standard_error

ALIKE = 1e-12  # a standard error below it, as a share of the largest difference, is rounding


class PairedDifference(NamedTuple):
    """mean: over all items.  interval: 95 %.  p: two-sided, of no difference.  Interval and p are None where the groups
    do not determine them."""

    mean: float
    interval: Interval | None
    p: float | None
    items: int
    groups: int


class McNemar(NamedTuple):
    """first_only, second_only: numbers of items on which only that method is right.  p: two-sided, exact."""

    first_only: int
    second_only: int
    p: float


def paired_difference(
    first: Sequence[float],
    second: Sequence[float],
    groups: Sequence[Hashable],
    *,
    low: float = -math.inf,
    high: float = math.inf,
    draws: int = DRAWS,
    seed: int = 0,
) -> PairedDifference:
    """The mean of first - second over the items, with interval and p-value over the groups.

    groups: the group of each item.  low, high: range of a difference.  A single group gives neither interval nor p.
    Groups with equal means do not show how much groups differ: then p is 1 if the mean is 0, else None, and the
    interval is that of `_interval_of_alike`, None if low or high is infinite.
    Raises ValueError for no items, or lists of different lengths.
    """
    if not len(first) == len(second) == len(groups) or not len(first):
        raise ValueError(f"{len(first)}, {len(second)} values and {len(groups)} groups are not paired items")
    difference_I = np.asarray(first, np.float64) - np.asarray(second, np.float64)
    mean, number = float(difference_I.mean()), len(set(groups))
    if number == 1:
        return PairedDifference(mean, None, None, len(difference_I), 1)
    unit = float(abs(difference_I).max()) or 1.0  # squares of the largest numbers would overflow
    counts = Counts(difference_I[None] / unit, np.ones((1, len(difference_I))))
    size, degrees = standard_error([counts], groups, draws, seed)
    error = StandardError(size * unit, degrees)
    if size <= ALIKE:
        interval, p = _interval_of_alike(mean, number, low, high), (1.0 if abs(mean) <= ALIKE else None)
    else:
        interval, p = error.around(mean, low, high), error.p(mean)
    return PairedDifference(mean, interval, p, len(difference_I), number)


def _interval_of_alike(value: float, groups: int, low: float, high: float) -> Interval | None:
    """95 % interval of a mean if every observed group has this mean.  Wilson's interval limits the share of groups with
    another mean; those could be at low or at high.  If all are right, or all wrong, it is Wilson's interval of the
    share itself."""
    others = wilson_interval(0.0, groups)[1]
    interval = Interval(value - others * (value - low), value + others * (high - value))
    return interval if all(map(math.isfinite, interval)) else None


def mcnemar_exact(first: Sequence[bool], second: Sequence[bool]) -> McNemar:
    """McNemar's test (1947) of two methods that were right or wrong on the same items, by the exact binomial.

    Raises ValueError for lists of different lengths.
    """
    pairs = list(zip(first, second, strict=True))
    first_only = sum(bool(a) and not b for a, b in pairs)
    second_only = sum(bool(b) and not a for a, b in pairs)
    n = first_only + second_only
    tail = sum(math.comb(n, k) for k in range(min(first_only, second_only) + 1))
    return McNemar(first_only, second_only, min(1.0, 2 * tail / (1 << n)))


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted for multiple tests, in the given order (Holm 1979).  Raises ValueError outside [0, 1]."""
    if any(not 0 <= p <= 1 for p in p_values):
        raise ValueError("p-values lie from 0 to 1")
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=lambda place: p_values[place])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = largest
    return adjusted


def holm_of_known(p_values: Sequence[float | None]) -> list[float | None]:
    """`holm` of the known p-values; None stays None and does not count as a test."""
    adjusted = iter(holm([p for p in p_values if p is not None]))
    return [None if p is None else next(adjusted) for p in p_values]
