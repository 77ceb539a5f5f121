"""The bound of IsTree holds for the best protocols at every cut, and its premises hold for the graphs that are sampled.

Axes: X sides of the leaves that were read, Q joined pairs.
"""

from collections import Counter
from itertools import combinations, product
from math import comb, log2

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval_gap.tasks.api import TRUE, TaskConfig
from retrieval_gap.tasks.istree import IsTree
from retrieval_gap.theory.problems import best_accuracy, uniform_problem
from retrieval_gap.theory.two_star import ANSWERS_A_BIT, two_star_ceiling


def optimum(n: int, bits: int) -> float:
    """What the best protocols reach where the state is cut before the joining edge and the rest is given for free.

    The joining edge comes after t leaf edges, for each t with chance 1 / (n - 1); which leaves these are is uniform.
    A leaf that is not read is taken to be on side 0, which the reader is told.
    """
    leaves, total = n - 2, 0.0
    for t in range(leaves + 1):
        for read in combinations(range(leaves), t):
            # With all sides read, only which neighbours differ is asked: the first side does not matter.
            free = read[1:] if t == leaves else read
            inputs = [dict(zip(free, x, strict=True)) for x in product((0, 1), repeat=len(free))]
            problem = uniform_problem(inputs, leaves - 1, lambda x, q: x.get(q, 0) ^ x.get(q + 1, 0))
            total += best_accuracy(problem, bits) / comb(leaves, t) / (n - 1)
    return total


@pytest.mark.parametrize("n", [4, 5, 6])
def test_no_protocol_beats_the_bound(n: int) -> None:
    for bits in range(1, 4):
        assert optimum(n, bits) <= two_star_ceiling(n, bits) + 1e-12


def test_a_bit_of_state_tells_no_more_than_two_answers_and_may_tell_two() -> None:
    """Step 4 of the proof, for every message of one bit about up to three of five leaves."""
    told = [
        sum(1 - _entropy_given(message, answer) for answer in answers)
        for t in (1, 2, 3)
        for read in combinations(range(5), t)
        for answers in [_open_answers(read)]
        for message in product((0, 1), repeat=2**t)
    ]
    assert max(told) == pytest.approx(ANSWERS_A_BIT)


def _open_answers(read: tuple[int, ...]) -> list[tuple[int, ...]]:
    """For each pair of neighbours with a leaf of `read`, whether they differ, by the sides of these leaves."""
    inputs = [dict(zip(read, x, strict=True)) for x in product((0, 1), repeat=len(read))]
    pairs = [j for j in range(4) if {j, j + 1} & set(read)]
    return [tuple(x.get(j, 0) ^ x.get(j + 1, 0) for x in inputs) for j in pairs]


def _entropy_given(message: tuple[int, ...], answer: tuple[int, ...]) -> float:
    """Bits of the answer that the message leaves open, all inputs being equally likely."""
    joint, seen = Counter(zip(message, answer, strict=True)), Counter(message)
    return sum(count * log2(seen[m] / count) for (m, _), count in joint.items()) / len(message)


@pytest.mark.parametrize("n", [4, 5, 6])
def test_without_a_state_before_the_joining_edge_two_thirds_is_exact(n: int) -> None:
    """Of the three edges that matter the joining one comes first in a third of all orders: only then is all known."""
    assert optimum(n, 0) == pytest.approx(2 / 3)


@given(n=st.integers(4, 300), bits=st.lists(st.integers(0, 400), min_size=2, max_size=8))
def test_it_is_monotone_and_exact_at_both_ends(n: int, bits: list[int]) -> None:
    ceilings = two_star_ceiling(n, sorted(bits))
    assert (np.diff(ceilings) >= 0).all()
    assert ((ceilings >= 0.5) & (ceilings <= 1)).all()
    assert two_star_ceiling(n, 0) == 0.5
    assert two_star_ceiling(n, [n - 3, n, 10**6]).tolist() == [1.0, 1.0, 1.0]
    assert n < 6 or two_star_ceiling(n, n - 4) < 1


@given(n=st.integers(4, 200), bits=st.integers(1, 60))
def test_larger_graphs_are_never_told_to_be_easier(n: int, bits: int) -> None:
    assert two_star_ceiling(n + 1, bits) <= two_star_ceiling(n, bits)


def test_few_bits_and_many_nodes_leave_two_thirds() -> None:
    ceilings = [float(two_star_ceiling(n, 10)) for n in (10**2, 10**3, 10**4, 10**5)]
    assert ceilings == sorted(ceilings, reverse=True)
    assert 2 / 3 < ceilings[-1] < 2 / 3 + 0.01


def sides(n: int, words: list[str]) -> tuple[int, bool]:
    """The place of the joining edge among the edges, and whether the leaves it joins hang on one centre: counted from
    the words of a prompt."""
    edges = [(int(words[i]), int(words[i + 2])) for i in range(1, 3 * n - 2, 3)]
    near = {v: {a + b - v for a, b in edges if v in (a, b)} for v in range(n)}
    joins = []
    for place, (u, v) in enumerate(edges):
        if len(near[u]) == 2 and len(near[v]) == 2:
            joins.append((place, bool((near[u] - {v}) & (near[v] - {u}))))
    return joins[0] if len(joins) == 1 else (-1, False)


def test_in_the_sampled_graphs_the_joining_edge_is_anywhere_and_sides_agree_half_of_the_time() -> None:
    n = 12
    task = IsTree(TaskConfig(n=n))
    batch = task.sample(np.arange(6000))
    words = [[task.vocabulary[t] for t in row[: 3 * n - 1]] for row in batch.tokens_BxL]
    found = [(*sides(n, row), answer == TRUE) for row, answer in zip(words, batch.answer_B, strict=True)]
    clear = [(place, same, tree) for place, same, tree in found if place >= 0]
    assert len(clear) > 4000
    assert all(same != tree for _, same, tree in clear)
    counts = np.bincount([place for place, _, _ in clear], minlength=n - 1)
    expected = len(clear) / (n - 1)
    assert ((counts - expected) ** 2 / expected).sum() < 35  # chi-square with 10 degrees of freedom: p = 0.0001


@pytest.mark.parametrize(("n", "bits"), [(3, 1), (8, -1)])
def test_undefined_sizes_are_refused(n: int, bits: int) -> None:
    with pytest.raises(ValueError, match=r"nodes or more|below zero"):
        two_star_ceiling(n, bits)
