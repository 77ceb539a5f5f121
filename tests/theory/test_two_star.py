"""The bound of IsTree holds for the best protocols at every cut, and its premises hold for the sampled graphs.

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
    """The best accuracy if the state is cut before the joining edge and the rest is given for free.

    The joining edge comes after t leaf edges, each t with probability 1 / (n - 1); all sets of t leaves are equally
    likely.  A leaf that is not read is on side 0, and the reader knows this.
    """
    leaves, total = n - 2, 0.0
    for t in range(leaves + 1):
        for read in combinations(range(leaves), t):
            # With all sides read, the question is only which neighbours differ: the first side does not matter.
            free = read[1:] if t == leaves else read
            inputs = [dict(zip(free, x, strict=True)) for x in product((0, 1), repeat=len(free))]
            problem = uniform_problem(inputs, leaves - 1, lambda x, q: x.get(q, 0) ^ x.get(q + 1, 0))
            total += best_accuracy(problem, bits) / comb(leaves, t) / (n - 1)
    return total


@pytest.mark.parametrize("n", [4, 5, 6])
def test_no_protocol_beats_the_bound(n: int) -> None:
    for bits in range(1, 4):
        assert optimum(n, bits) <= two_star_ceiling(n, bits) + 1e-12


def test_a_bit_of_state_is_worth_at_most_two_answers_and_can_be_worth_two() -> None:
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
    """For each pair of neighbours with a leaf in `read`: whether they differ, for all sides of the leaves in `read`."""
    inputs = [dict(zip(read, x, strict=True)) for x in product((0, 1), repeat=len(read))]
    pairs = [j for j in range(4) if {j, j + 1} & set(read)]
    return [tuple(x.get(j, 0) ^ x.get(j + 1, 0) for x in inputs) for j in pairs]


def _entropy_given(message: tuple[int, ...], answer: tuple[int, ...]) -> float:
    """Entropy of the answer given the message, in bits; all inputs are equally likely."""
    joint, seen = Counter(zip(message, answer, strict=True)), Counter(message)
    return sum(count * log2(seen[m] / count) for (m, _), count in joint.items()) / len(message)


@pytest.mark.parametrize("n", [4, 5, 6])
def test_without_a_state_at_the_joining_edge_the_optimum_is_two_thirds(n: int) -> None:
    """The joining edge is the first of the three edges that matter in a third of all orders; only then is all known."""
    assert optimum(n, 0) == pytest.approx(2 / 3)


@given(n=st.integers(4, 300), bits=st.lists(st.integers(0, 400), min_size=2, max_size=8))
def test_the_ceiling_is_monotone_and_exact_at_both_ends(n: int, bits: list[int]) -> None:
    ceilings = two_star_ceiling(n, sorted(bits))
    assert (np.diff(ceilings) >= 0).all()
    assert ((ceilings >= 0.5) & (ceilings <= 1)).all()
    assert two_star_ceiling(n, 0) == 0.5
    assert two_star_ceiling(n, [n - 3, n, 10**6]).tolist() == [1.0, 1.0, 1.0]
    assert n < 6 or two_star_ceiling(n, n - 4) < 1


@given(n=st.integers(4, 200), bits=st.integers(1, 60))
def test_the_ceiling_is_never_higher_for_a_larger_graph(n: int, bits: int) -> None:
    assert two_star_ceiling(n + 1, bits) <= two_star_ceiling(n, bits)


def test_with_few_bits_and_many_nodes_the_ceiling_approaches_two_thirds() -> None:
    ceilings = [float(two_star_ceiling(n, 10)) for n in (10**2, 10**3, 10**4, 10**5)]
    assert ceilings == sorted(ceilings, reverse=True)
    assert 2 / 3 < ceilings[-1] < 2 / 3 + 0.01


def sides(n: int, words: list[str]) -> tuple[int, bool]:
    """The place of the joining edge among a prompt's edges, and whether it joins leaves of one centre; (-1, False) if
    it is not clear which edge joins."""
    edges = [(int(words[i]), int(words[i + 2])) for i in range(1, 3 * n - 2, 3)]
    near = {v: {a + b - v for a, b in edges if v in (a, b)} for v in range(n)}
    joins = []
    for place, (u, v) in enumerate(edges):
        if len(near[u]) == 2 and len(near[v]) == 2:
            joins.append((place, bool((near[u] - {v}) & (near[v] - {u}))))
    return joins[0] if len(joins) == 1 else (-1, False)


def test_sampled_joining_edges_are_anywhere_and_make_a_tree_if_they_join_both_stars() -> None:
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
