"""Problems small enough to write out in full, and a local search for those too large for an exact search.

Axes: X inputs, Q queries, A answers, S states.
"""

from functools import reduce
from itertools import combinations, permutations, product

import numpy as np
from numpy.typing import NDArray

from retrieval_gap.theory.problems import Problem, uniform_problem


def distinct_recall_problem(pairs: int, values: int) -> Problem:
    """Recall of values that are all different."""
    return uniform_problem(permutations(range(values), pairs), pairs, lambda x, q: x[q])


def counting_problem(letters: int, most: int) -> Problem:
    """Counts of all letters; a query is whether one count is above a threshold."""
    counts = product(range(most + 1), repeat=letters)
    return uniform_problem(counts, letters * most, lambda x, q: x[q // most] > q % most)


def copy_problem(length: int, alphabet: int) -> Problem:
    """Copy: one query, whose answer is the whole input."""
    strings = product(range(alphabet), repeat=length)
    return uniform_problem(strings, 1, lambda x, _: sum(v * alphabet**t for t, v in enumerate(x)))


def asked_first_problem(length: int, alphabet: int, cut: int) -> Problem:
    """A place of a string is asked, then the string is read, up to a cut after `cut` letters.  Inputs are the place and
    the letters read, queries are all endings."""
    inputs = product(range(length), product(range(alphabet), repeat=cut))
    endings = list(product(range(alphabet), repeat=length - cut))
    return uniform_problem(inputs, len(endings), lambda x, q: (*x[1], *endings[q])[x[0]])


def chains_problem(levels: int) -> Problem:
    """Two chains with known nodes and levels: an input is after which levels they cross; a query is whether the first
    node of a level leads to the first of a later one."""
    questions = list(combinations(range(levels), 2))
    crossed = product(range(2), repeat=levels - 1)
    return uniform_problem(crossed, len(questions), lambda x, q: sum(x[slice(*questions[q])]) % 2)


def words_problem(
    table: NDArray[np.int32], alphabet: tuple[int, ...], length: int, *, next_element: bool = False
) -> Problem:
    """Words over some elements of a group; the answer is the product, by the group's table; 0 is neutral.

    next_element: the question is one more element, each equally often, and the answer its product with the word.
    """
    asked = alphabet if next_element else (0,)

    def answer(word: tuple[int, ...], question: int) -> int:
        return reduce(lambda a, b: int(table[a, b]), (*word, asked[question]), 0)

    return uniform_problem(product(alphabet, repeat=length), len(asked), answer)


def searched_accuracy(problem: Problem, bits: int, rng: np.random.Generator, *, starts: int = 20) -> float:
    """The accuracy of a good protocol: local search from random starts sets the best tables, then the best cells.

    A lower bound on the optimum, for sizes too large for an exact search.
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
