"""Small one-way problems written out in full, and the best accuracy of any protocol on them, by exhaustive search.

Axes: X inputs, Q queries, A answers, S states, C classes (sets of inputs, as bit masks).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

# For every bit, the exact search visits 3^X / 2 pairs of sets.
MOST_INPUTS = 16

Table = NDArray[np.float64]


@dataclass(frozen=True)
class Problem:
    """A one-way problem: an input is read, then a query about it is answered.

    weight_XxQ: probability of each pair of input and query; they sum to 1.
    answer_XxQ: the right answer to each pair, counted from 0.
    """

    weight_XxQ: Table
    answer_XxQ: NDArray[np.intp]

    @cached_property
    def values(self) -> Table:
        """Axes XxQxA: the probability of the pair if the answer is right, else 0."""
        return self.weight_XxQ[..., None] * (self.answer_XxQ[..., None] == np.arange(self.answer_XxQ.max() + 1))


def uniform_problem(inputs: Iterable[Any], queries: int, answer: Callable[..., int]) -> Problem:
    """A problem with uniform, independent inputs and queries; `answer(input, query)` is the right answer."""
    answer_XxQ = np.array([[answer(x, q) for q in range(queries)] for x in inputs], np.intp)
    return Problem(np.full(answer_XxQ.shape, 1 / answer_XxQ.size), answer_XxQ)


def index_problem(length: int, alphabet: int) -> Problem:
    """Index (and associative recall with fixed keys): any string, any place."""
    return uniform_problem(product(range(alphabet), repeat=length), length, lambda x, q: x[q])


def best_accuracy(problem: Problem, bits: int) -> float:
    """The best accuracy over all ways to sort the inputs into 2^bits cells, each with its own table of answers.

    Exact: dynamic programming over sets of inputs, in which each bit splits a set in two.
    Raises ValueError for more than MOST_INPUTS inputs.
    """
    inputs = len(problem.weight_XxQ)
    if inputs > MOST_INPUTS:
        raise ValueError(f"{inputs} inputs are too many for an exact search: at most {MOST_INPUTS}")
    best_C = _one_cell(problem)
    for _ in range(min(bits, inputs)):
        best_C = np.array([_best_split(mask, best_C) for mask in range(len(best_C))])
    return float(best_C[-1])


def _one_cell(problem: Problem) -> Table:
    """The best score of one table of answers on each set of inputs."""
    inputs, queries, answers = problem.values.shape
    member_CxX = (np.arange(2**inputs)[:, None] >> np.arange(inputs)) & 1
    earned_CxQxA = (member_CxX @ problem.values.reshape(inputs, -1)).reshape(-1, queries, answers)
    return earned_CxQxA.max(-1).sum(-1)


def _best_split(mask: int, best_C: Table) -> float:
    """The best score of a set split in two parts; a part may be empty."""
    lowest = mask & -mask
    part_S = _subsets(mask ^ lowest)
    return float((best_C[part_S] + best_C[mask ^ part_S]).max())


def _subsets(mask: int) -> NDArray[np.intp]:
    subsets = np.zeros(1, np.intp)
    while mask:
        lowest = mask & -mask
        subsets = np.concatenate([subsets, subsets | lowest])
        mask ^= lowest
    return subsets
