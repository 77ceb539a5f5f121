"""Word problems: a state of b bits names at most 2^b products, so the share of the likeliest 2^b is the ceiling.

A product that is asked for after each element is answered while that element is read, so there the state names the
product before it.

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
    """counts: numbers of words of 1, 2, ..., n elements with each product.  each: the question is the product after
    each element, answered as the element is read; else the product of all, asked for afterwards.  All words of a length
    are equally likely, and an element is independent of those before it.

    Raises ValueError if there is no word.
    """

    counts: tuple[tuple[int, ...], ...]
    each: bool

    def __post_init__(self) -> None:
        if not self.counts or any(sum(counts) < 1 for counts in self.counts):
            raise ValueError("expected counts of words by product, at least one word of each length")

    @property
    def states_needed(self) -> int:
        """The largest number of different products that a state must name."""
        return max(sum(count > 0 for count in counts) for counts in self._named)

    def ceiling(self, bits: ArrayLike) -> NDArray[np.float64]:
        """The best possible mean accuracy of readers with these (whole) numbers of bits; each rounded up.

        Raises ValueError for bits below zero.
        """
        return self._over(bits, lambda shares: sum(shares, Fraction(0)) / len(shares))

    def exact_trace(self, bits: ArrayLike) -> NDArray[np.float64]:
        """The ceiling on words with every answer right: the ceiling at the hardest place; each rounded up."""
        return self._over(bits, min)

    @property
    def _named(self) -> tuple[tuple[int, ...], ...]:
        """For each answer: the numbers of words with each product that the state before it names."""
        empty_word = (1,)
        return (empty_word, *self.counts[:-1]) if self.each else self.counts[-1:]

    def _over(self, bits: ArrayLike, combine: Callable[[list[Fraction]], Fraction]) -> NDArray[np.float64]:
        def of_one(each: int) -> float:
            share = combine([_likeliest(counts, each) for counts in self._named])
            return divide_up(share.numerator, share.denominator)

        return over_bits(of_one, bits)


def _likeliest(counts: tuple[int, ...], bits: int) -> Fraction:
    """The share of words with one of the 2^bits likeliest products."""
    named = sorted(counts, reverse=True)[: 1 << min(bits, len(counts).bit_length())]
    return Fraction(sum(named), sum(counts))
