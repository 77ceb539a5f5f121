"""Word problems: a state of b bits names 2^b products at the most, so the likeliest of them are the ceiling.

docs/theory.md, section 5, has the proof.
"""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import ArrayLike, NDArray

from retrieval_gap.theory.best_cells import divide_up, over_bits


@dataclass(frozen=True)
class WordScores:
    """How many words of 1, 2, ..., n elements have each product, and whether the product is asked for after each
    element or at the end alone.  All words of a length are equally likely.

    Raises ValueError where there is no word.
    """

    counts: tuple[tuple[int, ...], ...]
    each: bool

    def __post_init__(self) -> None:
        if not self.counts or any(sum(counts) < 1 for counts in self.counts):
            raise ValueError("expected counts of words by product, at least one word of each length")

    @property
    def states_needed(self) -> int:
        """Products that words of one length can have."""
        return max(sum(count > 0 for count in counts) for counts in self._asked)

    def ceiling(self, bits: ArrayLike) -> NDArray[np.float64]:
        """The best mean accuracy that readers with these (whole) numbers of bits can have; each rounded up.

        Raises ValueError for bits below zero.
        """
        return self._over(bits, lambda shares: sum(shares, Fraction(0)) / len(shares))

    def exact_trace(self, bits: ArrayLike) -> NDArray[np.float64]:
        """Of words with every answer right: no more than have the right answer where that is hardest."""
        return self._over(bits, min)

    @property
    def _asked(self) -> tuple[tuple[int, ...], ...]:
        return self.counts if self.each else self.counts[-1:]

    def _over(self, bits: ArrayLike, combine: Callable[[list[Fraction]], Fraction]) -> NDArray[np.float64]:
        def of_one(each: int) -> float:
            share = combine([_likeliest(counts, each) for counts in self._asked])
            return divide_up(share.numerator, share.denominator)

        return over_bits(of_one, bits)


def _likeliest(counts: tuple[int, ...], bits: int) -> Fraction:
    """The share of words that have one of the 2^bits likeliest products."""
    named = sorted(counts, reverse=True)[: 1 << min(bits, len(counts).bit_length())]
    return Fraction(sum(named), sum(counts))
