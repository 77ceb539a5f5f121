"""Paired comparisons: two methods judged on the same items, which come in groups (streams, documents, tasks).

Items of one group depend on each other, so intervals resample whole groups: the cluster bootstrap (Efron and
Tibshirani, "An Introduction to the Bootstrap", 1993, section 8; Field and Welsh, JRSS B 69, 2007).
McNemar's test, Holm's correction and the bootstrap are written here because scipy and statsmodels are dependencies of
this package's tests alone, which compare these few lines with theirs.
Axes: I items, G groups, D bootstrap draws.
"""

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from retrieval_gap.statistics.intervals import Interval

DRAWS = 10_000


class PairedDifference(NamedTuple):
    """mean: over all items.  interval: 95 %, None where one group alone leaves nothing to resample."""

    mean: float
    interval: Interval | None
    items: int
    groups: int


class McNemar(NamedTuple):
    """first_only, second_only: items on which one of the two alone is right.  p: two-sided and exact."""

    first_only: int
    second_only: int
    p: float


def paired_difference(
    first: Sequence[float], second: Sequence[float], groups: Sequence[Hashable], *, draws: int = DRAWS, seed: int = 0
) -> PairedDifference:
    """The mean of first - second over the items, with the percentile interval of a bootstrap over groups.

    groups: the group of each item.  Raises ValueError for no items, or lists of different lengths.
    """
    if not len(first) == len(second) == len(groups) or not len(first):
        raise ValueError(f"{len(first)}, {len(second)} values and {len(groups)} groups are no paired items")
    numbers = {group: number for number, group in enumerate(dict.fromkeys(groups))}
    group_I = np.array([numbers[group] for group in groups])
    difference_I = np.asarray(first, np.float64) - np.asarray(second, np.float64)
    sum_G = np.bincount(group_I, difference_I, minlength=len(numbers)).astype(np.float64)
    count_G = np.bincount(group_I, minlength=len(numbers)).astype(np.float64)
    mean = float(sum_G.sum() / count_G.sum())
    interval = None
    if len(numbers) > 1:
        mean_D = bootstrap_means(sum_G, count_G, draws=draws, seed=seed)
        low, high = np.quantile(mean_D, (0.025, 0.975))
        interval = Interval(float(low), float(high))
    return PairedDifference(mean, interval, len(difference_I), len(numbers))


def bootstrap_means(
    sum_G: NDArray[np.float64], count_G: NDArray[np.float64], *, draws: int = DRAWS, seed: int = 0
) -> NDArray[np.float64]:
    """Means over items of `draws` samples of whole groups, with replacement; sum_G and count_G are each group's."""
    groups = len(sum_G)
    times_DxG = np.random.default_rng(seed).multinomial(groups, np.full(groups, 1 / groups), size=draws)
    means: NDArray[np.float64] = (times_DxG @ sum_G) / (times_DxG @ count_G)
    return means


def mcnemar_exact(first: Sequence[bool], second: Sequence[bool]) -> McNemar:
    """McNemar's test of two methods that were right or wrong on the same items, by the exact binomial (1947).

    Raises ValueError for lists of different lengths.
    """
    pairs = list(zip(first, second, strict=True))
    first_only = sum(bool(a) and not b for a, b in pairs)
    second_only = sum(bool(b) and not a for a, b in pairs)
    n, term, total = first_only + second_only, 1, 0
    for k in range(min(first_only, second_only) + 1):
        total += term
        term = term * (n - k) // (k + 1)
    return McNemar(first_only, second_only, min(1.0, 2 * total / (1 << n)))


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted for being several, in their order (Holm 1979).  Raises ValueError outside [0, 1]."""
    if any(not 0 <= p <= 1 for p in p_values):
        raise ValueError("p-values lie from 0 to 1")
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=lambda place: p_values[place])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = largest
    return adjusted
