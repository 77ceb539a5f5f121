"""A query that comes before the sequence: a reader has to carry the query, and once it is found, the answer.

docs/theory.md, section 5, has the proof.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from retrieval_gap.theory.best_cells import divide_up, over_bits


@dataclass(frozen=True, kw_only=True)
class AskedFirst:
    """A query for one of `items` items, uniform; then the items' values in a known order, independent and each uniform
    among `alphabet` values.

    Raises ValueError for fewer than two items or values.
    """

    items: int
    alphabet: int

    def __post_init__(self) -> None:
        if min(self.items, self.alphabet) < 2:
            raise ValueError(f"expected 2 or more items and values, got {self.items} and {self.alphabet}")

    @property
    def states_needed(self) -> int:
        """Number of states of a reader that is always right, after the first value: one for each value if the query is
        the first item, and one for each other item."""
        return self.items - 1 + self.alphabet

    def ceiling(self, bits: ArrayLike) -> NDArray[np.float64]:
        """The best possible accuracy of readers with these (whole) numbers of bits; each rounded up.

        Raises ValueError for bits below zero.
        """
        return over_bits(self._ceiling, bits)

    def _ceiling(self, bits: int) -> float:
        if bits >= self.states_needed.bit_length():
            return 1.0
        return min(self.after(read, 1 << bits) for read in range(1, self.items + 1))

    def after(self, read: int, states: int) -> float:
        """The ceiling from a single cut, after `read` values (1 to all); rounded up."""
        q = self.alphabet
        if read == self.items:
            return divide_up(min(states, q), q)
        whole = 2 * self.items * q * q
        return divide_up(whole - self._lightest(read, states) * (q - 1), whole)

    def _lightest(self, read: int, states: int) -> int:
        """The weight, in units of 1 / (items * alphabet), of the kinds left over when each state takes one kind, the
        heaviest first.  `alphabet` kinds (the value was found) have weight `read`; the others, weight `alphabet`."""
        unread, found = self.items - read, self.alphabet
        left = max(0, found + unread - states)
        light, heavy = sorted(((read, found), (self.alphabet, unread)))
        return min(left, light[1]) * light[0] + max(0, left - light[1]) * heavy[0]


def one_of_ceiling(bits: ArrayLike, answers: int) -> NDArray[np.float64]:
    """min(1, 2^bits / answers), as each state names one of `answers` equally likely answers; rounded up.

    Raises ValueError for bits below zero.
    """
    return over_bits(lambda each: divide_up(min(answers, 1 << min(each, answers.bit_length())), answers), bits)
