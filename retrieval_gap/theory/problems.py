"""Small one-way problems written out in full, and the best that any protocol does on them, by exhaustive search.

Axes: X inputs, Q queries, A answers, S states, C classes (sets of inputs, as bit masks).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property, reduce
from itertools import combinations, permutations, product
from typing import Any

import numpy as np
from numpy.typing import NDArray

# For every bit the exact search visits 3^X / 2 pairs of sets.
MOST_INPUTS = 16

Table = NDArray[np.float64]


@dataclass(frozen=True)
class Problem:
    """An input is read, then a query is asked about it.

    weight_XxQ: probability of each pair of input and query; all sum to 1.
    answer_XxQ: the right answer to each, counted from 0.
    """

    weight_XxQ: Table
    answer_XxQ: NDArray[np.intp]

    @cached_property
    def values(self) -> Table:
        """Axes XxQxA: the probability of the pair, where the answer is the right one; else 0."""
        return self.weight_XxQ[..., None] * (self.answer_XxQ[..., None] == np.arange(self.answer_XxQ.max() + 1))


def uniform_problem(inputs: Iterable[Any], queries: int, answer: Callable[..., int]) -> Problem:
    """Inputs and queries uniform and independent; `answer(input, query)` is right."""
    answer_XxQ = np.array([[answer(x, q) for q in range(queries)] for x in inputs], np.intp)
    return Problem(np.full(answer_XxQ.shape, 1 / answer_XxQ.size), answer_XxQ)


def index_problem(length: int, alphabet: int) -> Problem:
    """Index, and associative recall where keys are fixed: any string, any place."""
    return uniform_problem(product(range(alphabet), repeat=length), length, lambda x, q: x[q])


def distinct_recall_problem(pairs: int, values: int) -> Problem:
    """Recall of values that are all different."""
    return uniform_problem(permutations(range(values), pairs), pairs, lambda x, q: x[q])


def counting_problem(letters: int, most: int) -> Problem:
    """Counts of all letters; is one above a threshold?"""
    counts = product(range(most + 1), repeat=letters)
    return uniform_problem(counts, letters * most, lambda x, q: x[q // most] > q % most)


def copy_problem(length: int, alphabet: int) -> Problem:
    """Copy: one query, whose answer is the whole input."""
    strings = product(range(alphabet), repeat=length)
    return uniform_problem(strings, 1, lambda x, _: sum(v * alphabet**t for t, v in enumerate(x)))


def asked_first_problem(length: int, alphabet: int, cut: int) -> Problem:
    """A place of a string is known, then the string is read: cut after so many letters.  Inputs are the place and the
    letters read, queries all endings."""
    inputs = product(range(length), product(range(alphabet), repeat=cut))
    endings = list(product(range(alphabet), repeat=length - cut))
    return uniform_problem(inputs, len(endings), lambda x, q: (*x[1], *endings[q])[x[0]])


def chains_problem(levels: int) -> Problem:
    """Two chains whose nodes and levels are known: an input says behind which levels they cross; does the first node of
    a level lead to the first of a later one?"""
    questions = list(combinations(range(levels), 2))
    crossed = product(range(2), repeat=levels - 1)
    return uniform_problem(crossed, len(questions), lambda x, q: sum(x[slice(*questions[q])]) % 2)


def words_problem(table: NDArray[np.int32], alphabet: tuple[int, ...], length: int) -> Problem:
    """Words over some elements of a group, by its table of products: the product, the neutral element being 0."""
    words = product(alphabet, repeat=length)
    return uniform_problem(words, 1, lambda word, _: reduce(lambda a, b: int(table[a, b]), word, 0))


def best_accuracy(problem: Problem, bits: int) -> float:
    """The optimum over all ways to sort the inputs into 2^bits cells, each with its own table of answers.

    Exact: dynamic programming over sets of inputs, where each bit splits a set in two.
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
    """What one table of answers earns on each set of inputs."""
    inputs, queries, answers = problem.values.shape
    member_CxX = (np.arange(2**inputs)[:, None] >> np.arange(inputs)) & 1
    earned_CxQxA = (member_CxX @ problem.values.reshape(inputs, -1)).reshape(-1, queries, answers)
    return earned_CxQxA.max(-1).sum(-1)


def _best_split(mask: int, best_C: Table) -> float:
    """The most that a set earns in two parts; a part may be empty."""
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


def searched_accuracy(problem: Problem, bits: int, rng: np.random.Generator, *, starts: int = 20) -> float:
    """A good protocol, found by local search from random starts: best tables for the cells, best cells for the tables.

    A lower bound of the optimum, at sizes that an exact search does not reach.
    """
    best, states = 0.0, 2**bits
    for _ in range(starts):
        cell_X, earned = rng.integers(states, size=len(problem.weight_XxQ)), -1.0
        while True:
            value_SxQxA = np.zeros((states, *problem.values.shape[1:]))
            np.add.at(value_SxQxA, cell_X, problem.values)
            now = float(value_SxQxA.max(-1).sum())
            if now <= earned + 1e-12:
                break
            earned = now
            right_SxXxQ = value_SxQxA.argmax(-1)[:, None] == problem.answer_XxQ
            cell_X = (right_SxXxQ * problem.weight_XxQ).sum(-1).argmax(0)
        best = max(best, earned)
    return best
