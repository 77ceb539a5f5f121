"""Scores that are a ratio of sums over examples, compared on the same examples over several seeds.

Accuracy is right answers over examples; F1 of spans is twice the right spans over the spans said and those there.
Intervals resample whole groups of examples, and seeds (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993,
section 8).
Axes: S seeds, I examples, G groups, D bootstrap draws.
"""

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from retrieval_gap.statistics.intervals import Z_95, Interval

DRAWS = 2_000
Z_80 = 0.8416212335729143  # of a normal distribution, the point that 80 % lie below
Array = NDArray[np.float64]


class Counts(NamedTuple):
    """What each seed counted on each example: numerator_SxI / denominator_SxI, summed before they are divided."""

    numerator_SxI: Array
    denominator_SxI: Array

    @property
    def score(self) -> float:
        """Mean over seeds of the ratio of sums; 0 where a denominator is 0."""
        return float(_ratio(self.numerator_SxI.sum(1), self.denominator_SxI.sum(1)).mean())


class ScoreDifference(NamedTuple):
    """value: on all examples and seeds.  interval: 95 %.  detectable: the smallest difference from zero that a test of
    this size finds with probability 0.8.  p: two-sided, of no difference."""

    value: float
    interval: Interval
    detectable: float
    p: float


def score_interval(counts: Counts, groups: Sequence[Hashable], *, draws: int = DRAWS, seed: int = 0) -> Interval:
    """95 % interval of a score.  Raises ValueError for lists that do not fit together."""
    return _percentiles(_resampled([counts], groups, draws, seed)[0])


def score_difference(
    first: Counts, second: Counts, groups: Sequence[Hashable], *, draws: int = DRAWS, seed: int = 0
) -> ScoreDifference:
    """first - second, paired by example and by seed.  groups: of each example.

    Raises ValueError for lists that do not fit together.
    """
    first_D, second_D = _resampled([first, second], groups, draws, seed)
    difference_D = first_D - second_D
    beyond = min((difference_D <= 0).sum(), (difference_D >= 0).sum())
    return ScoreDifference(
        value=first.score - second.score,
        interval=_percentiles(difference_D),
        detectable=float((Z_95 + Z_80) * difference_D.std(ddof=1)),
        p=min(1.0, 2 * (int(beyond) + 1) / (draws + 1)),
    )


def _resampled(counts: Sequence[Counts], groups: Sequence[Hashable], draws: int, seed: int) -> list[Array]:
    """Scores in each draw; the same draws for all."""
    seeds, examples = counts[0].numerator_SxI.shape
    shapes = {part.shape for each in counts for part in each}
    if shapes != {(seeds, examples)} or len(groups) != examples or not examples:
        raise ValueError(f"counts of shapes {sorted(shapes)} and {len(groups)} groups are no paired examples")
    numbers = {group: number for number, group in enumerate(dict.fromkeys(groups))}
    group_I = np.array([numbers[group] for group in groups])
    rng = np.random.default_rng(seed)
    times_DxG = rng.multinomial(len(numbers), np.full(len(numbers), 1 / len(numbers)), size=draws).astype(np.float64)
    share_DxS = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=draws) / seeds
    found = []
    for each in counts:
        above_DxS, below_DxS = (times_DxG @ _by_group(part, group_I, len(numbers)).T for part in each)
        found.append((share_DxS * _ratio(above_DxS, below_DxS)).sum(1))
    return found


def _by_group(part_SxI: Array, group_I: NDArray[np.int64], groups: int) -> Array:
    return np.stack([np.bincount(group_I, row_I, minlength=groups) for row_I in part_SxI])


def _ratio(above: Array, below: Array) -> Array:
    return np.divide(above, below, out=np.zeros_like(above), where=below != 0)


def _percentiles(value_D: Array) -> Interval:
    low, high = np.quantile(value_D, (0.025, 0.975))
    return Interval(float(low), float(high))
