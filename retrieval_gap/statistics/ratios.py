"""Scores that are a ratio of sums over examples, compared on the same examples over several seeds.

Accuracy is right answers over examples; F1 of spans is twice the right spans over predicted plus gold spans.
Standard errors come from a bootstrap that resamples seeds and whole groups of examples (Efron and Tibshirani, "An
Introduction to the Bootstrap", 1993, sections 8 and 12).  S seeds, or G groups, drawn with replacement have (S - 1) / S
and (G - 1) / G of the variance of new ones, which is corrected.  Few seeds show little of how much seeds differ, so
intervals and p-values use Student's distribution, with Satterthwaite's degrees of freedom (1946) for the two parts,
S - 1 and G - 1.
Axes: S seeds, I examples, G groups, D bootstrap draws.
"""

import math
from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from retrieval_gap.statistics.intervals import Interval, StandardError, t_quantile, wilson_interval

DRAWS = 2_000
POWER = 0.8  # of the test that defines `detectable`
Array = NDArray[np.float64]


class Counts(NamedTuple):
    """Counts of each seed on each example; numerator_SxI and denominator_SxI are summed before they are divided."""

    numerator_SxI: Array
    denominator_SxI: Array

    @property
    def score(self) -> float:
        """Mean over seeds of the ratio of sums; 0 where a denominator is 0."""
        return float(_ratio(self.numerator_SxI.sum(1), self.denominator_SxI.sum(1)).mean())


class ScoreDifference(NamedTuple):
    """value: over all examples and seeds.  interval: 95 %.  detectable: the smallest difference from zero that a test
    of this size finds with probability 0.8.  p: two-sided, of no difference; None for a single seed, which does not
    show how much seeds differ."""

    value: float
    interval: Interval
    detectable: float
    p: float | None


def score_interval(counts: Counts, groups: Sequence[Hashable]) -> Interval:
    """95 % interval of a score.  If all are right or all wrong, it is Wilson's, with groups as samples.

    Raises ValueError for lists that do not fit together.
    """
    error = standard_error([counts], groups)
    if counts.score in (0, 1) and error.size < math.inf:
        return Interval(*wilson_interval(counts.score, len(set(groups))))
    return error.around(counts.score, 0.0, 1.0)


def score_difference(
    first: Counts, second: Counts, groups: Sequence[Hashable], *, draws: int = DRAWS
) -> ScoreDifference:
    """first - second, paired by example and by seed.  groups: the group of each example; one group gives no interval.

    Raises ValueError for lists that do not fit together.
    """
    error = standard_error([first, second], groups, draws)
    value = first.score - second.score
    found = t_quantile(error.degrees) + t_quantile(error.degrees, 2 * POWER - 1)
    return ScoreDifference(
        value=value,
        interval=error.around(value, -1.0, 1.0),
        detectable=min(1.0, found * error.size),
        p=error.p(value) if len(first.numerator_SxI) > 1 else None,
    )


def standard_error(
    counts: Sequence[Counts], groups: Sequence[Hashable], draws: int = DRAWS, seed: int = 0
) -> StandardError:
    """The standard error of a score, or of the difference of two.  Raises ValueError for lists that do not fit
    together."""
    seeds, examples = counts[0].numerator_SxI.shape
    shapes = {part.shape for each in counts for part in each}
    if shapes != {(seeds, examples)} or len(groups) != examples or not examples:
        raise ValueError(f"counts of shapes {sorted(shapes)} and {len(groups)} groups are not paired examples")
    numbers = {group: number for number, group in enumerate(dict.fromkeys(groups))}
    if len(numbers) == 1:
        return StandardError(math.inf, 1)
    group_I = np.array([numbers[group] for group in groups])
    rng = np.random.default_rng(seed)
    times_DxG = rng.multinomial(len(numbers), np.full(len(numbers), 1 / len(numbers)), size=draws).astype(np.float64)
    score_DxS, *other_DxS = (_resampled(each, group_I, times_DxG) for each in counts)
    if other_DxS:
        score_DxS = score_DxS - other_DxS[0]
    share_DxS = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=draws) / seeds
    if seeds > 1:
        share_DxS = 1 / seeds + math.sqrt(seeds / (seeds - 1)) * (share_DxS - 1 / seeds)
    whole = float((share_DxS * score_DxS).sum(1).var(ddof=1))
    of_examples = min(whole, float(score_DxS.mean(1).var(ddof=1)))
    of_seeds = whole - of_examples
    of_examples *= len(numbers) / (len(numbers) - 1)
    return StandardError(math.sqrt(of_seeds + of_examples), _degrees((of_seeds, seeds), (of_examples, len(numbers))))


def _resampled(counts: Counts, group_I: NDArray[np.int64], times_DxG: Array) -> Array:
    """Each seed's score in each draw of groups."""
    above_DxS, below_DxS = (times_DxG @ _by_group(part, group_I, times_DxG.shape[1]).T for part in counts)
    return _ratio(above_DxS, below_DxS)


def _degrees(*parts: tuple[float, int]) -> int:
    """Degrees of freedom of a sum of variances; parts: (variance of a mean, number of values).  Rounded down, which
    widens an interval."""
    spread = sum(variance for variance, _ in parts)
    loss = sum(variance**2 / (number - 1) for variance, number in parts if variance)
    return max(1, math.floor(spread**2 / loss + 1e-9)) if loss else max(number for _, number in parts)


def _by_group(part_SxI: Array, group_I: NDArray[np.int64], groups: int) -> Array:
    return np.stack([np.bincount(group_I, row_I, minlength=groups) for row_I in part_SxI])


def _ratio(above: Array, below: Array) -> Array:
    return np.divide(above, below, out=np.zeros_like(above), where=below != 0)
