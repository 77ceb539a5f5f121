"""95 % intervals of shares and of their differences.  Nothing here needs torch."""

import math
from collections.abc import Sequence
from functools import cache
from statistics import fmean, stdev
from typing import NamedTuple

Z_95 = 1.959963984540054


class Interval(NamedTuple):
    low: float
    high: float

    def widened(self, other: "Interval") -> "Interval":
        """The narrowest interval that holds both."""
        return Interval(min(self.low, other.low), max(self.high, other.high))

    def clipped(self) -> "Interval":
        """Cut to [-1, 1], where a difference of two shares lies."""
        return Interval(max(-1.0, self.low), min(1.0, self.high))


class StandardError(NamedTuple):
    """size: standard error of a value, inf where it cannot be estimated.  degrees: its degrees of freedom."""

    size: float
    degrees: int

    def around(self, value: float, low: float = -math.inf, high: float = math.inf) -> Interval:
        """95 % interval, by Student's distribution (1908), of a value in [low, high]."""
        half = t_quantile(self.degrees) * self.size
        return Interval(max(low, value - half), min(high, value + half))

    def p(self, value: float) -> float:
        """Two-sided p-value of the hypothesis that the value is 0."""
        return 1 - t_within(abs(value) / self.size, self.degrees) if self.size else float(value == 0)


def wilson_interval(share: float, samples: int) -> tuple[float, float]:
    """95 % score interval of a share (Wilson 1927)."""
    z2 = Z_95**2 / samples
    centre = (share + z2 / 2) / (1 + z2)
    half = Z_95 / (1 + z2) * math.sqrt(share * (1 - share) / samples + z2 / (4 * samples))
    return max(0.0, centre - half), min(1.0, centre + half)


def newcombe_interval(share: float, samples: int, other: float, other_samples: int) -> Interval:
    """95 % interval of `share` - `other` from independent samples, by their Wilson intervals (Newcombe 1998, method
    10)."""
    low, high = wilson_interval(share, samples)
    other_low, other_high = wilson_interval(other, other_samples)
    difference = share - other
    return Interval(
        difference - math.hypot(share - low, other_high - other),
        difference + math.hypot(high - share, other - other_low),
    )


def paired_t_interval(differences: Sequence[float]) -> Interval:
    """95 % interval of the mean of two or more paired differences (Student 1908)."""
    half = t_quantile(len(differences) - 1) * stdev(differences) / math.sqrt(len(differences))
    return Interval(fmean(differences) - half, fmean(differences) + half)


def prediction_interval(values: Sequence[float]) -> Interval:
    """95 % prediction interval for one further value, drawn as these two or more values were (Student's t)."""
    half = t_quantile(len(values) - 1) * stdev(values) * math.sqrt(1 + 1 / len(values))
    return Interval(fmean(values) - half, fmean(values) + half)


def welch_interval(values: Sequence[float], others: Sequence[float]) -> Interval:
    """95 % interval of the difference of two means, of two or more values each (Welch 1947).  The degrees of freedom
    are rounded down, which widens it."""
    ours, theirs = (stdev(group) ** 2 / len(group) for group in (values, others))
    difference, spread = fmean(values) - fmean(others), ours + theirs
    if spread == 0:
        return Interval(difference, difference)
    degrees = spread**2 / (ours**2 / (len(values) - 1) + theirs**2 / (len(others) - 1))
    half = t_quantile(max(1, math.floor(degrees + 1e-9))) * math.sqrt(spread)
    return Interval(difference - half, difference + half)


@cache
def t_quantile(degrees: int, within: float = 0.95) -> float:
    """The t for which P(|T| <= t) = within (below 1) under Student's distribution."""
    low, high = 0.0, 1.0
    while t_within(high, degrees) < within:
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if t_within(middle, degrees) < within else (low, middle)
    return (low + high) / 2


def t_within(t: float, degrees: int) -> float:
    """P(|T| <= t), by the finite sums for whole degrees of freedom (Abramowitz and Stegun, 26.7.3 and 26.7.4)."""
    angle = math.atan(t / math.sqrt(degrees))
    cosine, odd = math.cos(angle), degrees % 2
    term = total = (cosine if odd else 1.0) if degrees > 1 else 0.0
    for k in range(2 + odd, degrees, 2):
        term *= cosine**2 * (k - 1) / k
        total += term
    total *= math.sin(angle)
    return min(1.0, 2 / math.pi * (angle + total) if odd else total)
