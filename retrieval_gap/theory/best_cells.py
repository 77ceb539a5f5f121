"""The best-cell bound: a state of b bits sorts all inputs into 2^b cells, and each cell gets one table of answers.

In one cell, only inputs close to its table are answered well.  Counting the inputs at each distance from the best table
bounds every reader, by integer arithmetic alone.  docs/theory.md, section 3, has the proof.

Axes: J right answers of one input, B numbers of bits.
"""

import math
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class Scores:
    """Scores of one table of answers over all inputs; inputs, and queries of an input, are equally likely.

    counts: numbers of inputs with exactly 0, 1, ..., m of their m queries right.
    Raises ValueError if no input gets all of them right, or there is no query.
    """

    counts: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.counts) < 2 or self.counts[-1] < 1 or min(self.counts) < 0:
            raise ValueError("expected counts of inputs by right answers, the last of them 1 or more")

    @cached_property
    def inputs(self) -> int:
        return sum(self.counts)

    @cached_property
    def at_least(self) -> list[int]:
        """Numbers of inputs with at least m, m - 1, ..., 1 right answers: an ascending list."""
        return list(accumulate(reversed(self.counts[1:])))

    @cached_property
    def _sums(self) -> list[int]:
        return [0, *accumulate(self.at_least)]

    def ceiling(self, bits: ArrayLike) -> NDArray[np.float64]:
        """The best possible accuracy of readers with these (whole) numbers of bits; each rounded up.

        Raises ValueError for bits below zero.
        """
        return over_bits(self._ceiling, bits)

    def _ceiling(self, bits: int) -> float:
        """The mean over j = 1..m of min(1, 2^bits * (share of inputs with j right answers or more))."""
        if bits >= self.inputs.bit_length():
            return 1.0
        queries = len(self.counts) - 1
        rare = bisect_left(self.at_least, -(-self.inputs >> bits))  # the levels that 2^bits cells do not exhaust
        right = (queries - rare) * self.inputs + (self._sums[rare] << bits)
        return divide_up(right, queries * self.inputs)


def over_bits(of_one: Callable[[int], float], bits: ArrayLike) -> NDArray[np.float64]:
    """`of_one` of each (whole) number of bits.  Raises ValueError for bits below zero."""
    bits_B = np.asarray(bits)
    if (bits_B < 0).any():
        raise ValueError(f"bits = {bits_B.min()} is below zero")
    return np.array([of_one(int(b)) for b in bits_B.ravel()], np.float64).reshape(bits_B.shape)


def divide_up(numerator: int, denominator: int) -> float:
    """The smallest double that is not below a quotient of integers."""
    nearest = numerator / denominator
    p, q = nearest.as_integer_ratio()
    return nearest if p * denominator >= numerator * q else math.nextafter(nearest, math.inf)


def independent_scores(answers: int, alphabet: int) -> Scores:
    """Scores of one string, for `answers` independent answers, each uniform among `alphabet` values.

    Raises ValueError for no answers, or an alphabet of fewer than two values.
    """
    _check(answers, alphabet)
    return Scores(_power((alphabet - 1, 1), answers))


def counting_scores(letters: int, most: int) -> Scores:
    """Scores for `letters` independent counts, each uniform in 0..most and compared with every threshold below `most`.

    The table takes each count to be the middle one; it is wrong for as many thresholds as the count is away from that.
    Raises ValueError for no letters, or `most` below 1.
    """
    _check(letters, most + 1)
    away = [abs(count - most // 2) for count in range(most + 1)]
    return Scores(_power(tuple(away.count(most - right) for right in range(most + 1)), letters))


def distinct_scores(answers: int, alphabet: int) -> Scores:
    """Scores of one arrangement, for `answers` different values out of `alphabet` in any order.

    Raises ValueError for no answers, an alphabet of fewer than two values, or more answers than values.
    """
    _check(answers, alphabet)
    if answers > alphabet:
        raise ValueError(f"{answers} different answers do not fit in an alphabet of {alphabet}")
    wrong = _all_wrong(answers, alphabet - answers)
    return Scores(tuple(math.comb(answers, right) * wrong[answers - right] for right in range(answers + 1)))


def exact_match_scores(inputs: int) -> Scores:
    """All-or-nothing scores: one table is right for one of `inputs` inputs.  Raises ValueError for fewer than two."""
    if inputs < 2:
        raise ValueError(f"expected 2 or more inputs, got {inputs}")
    return Scores((inputs - 1, 1))


def _all_wrong(places: int, spare: int) -> list[int]:
    """For k = 0..places: number of arrangements of k + spare values on k places that differ from the table everywhere.

    With `spare` 0 this is the recurrence of derangements; see docs/theory.md, section 5.
    """
    wrong = [1, spare]
    for k in range(2, places + 1):
        wrong.append((k + spare - 1) * wrong[-1] + (k - 1) * wrong[-2])
    return wrong


def _power(part: tuple[int, ...], parts: int) -> tuple[int, ...]:
    """Coefficients of the polynomial `part` to the power `parts`.

    With f the polynomial without its leading zeros and p the power, f p' = parts f' p gives each coefficient from the
    previous ones, in whole numbers.
    """
    zeros = next(j for j, count in enumerate(part) if count)
    f = part[zeros:]
    p = [f[0] ** parts]
    for k in range(1, parts * (len(f) - 1) + 1):
        known = range(1, min(k, len(f) - 1) + 1)
        p.append(sum((parts * i - (k - i)) * f[i] * p[k - i] for i in known) // (k * f[0]))
    return (*[0] * (zeros * parts), *p)


def _check(answers: int, alphabet: int) -> None:
    if answers < 1 or alphabet < 2:
        raise ValueError(f"expected 1 or more answers of 2 or more values, got {answers} of {alphabet}")
