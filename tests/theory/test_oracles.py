from collections.abc import Hashable, Sequence
from itertools import product

import numpy as np
import pytest

from retrieval_gap.theory.oracles import (
    best_with_oracle,
    ceiling_with_recall,
    classes,
    nothing,
    oracle_rows,
    recall_first,
    regular_expressions,
    tables_of_recall,
)
from retrieval_gap.theory.problems import best_accuracy, index_problem


def words(length: int, alphabet: int) -> list[tuple[int, ...]]:
    return list(product(range(alphabet), repeat=length))


def best_by_trying_all(length: int, oracle, bits: int) -> float:
    """The best accuracy over all states for binary inputs; each state, table and question has its better answer."""
    inputs, best = words(length, 2), 0
    tables = [oracle(word) for word in inputs]
    for states in product(range(2**bits), repeat=len(inputs)):
        right = 0
        for place in range(length):
            votes: dict[object, list[int]] = {}
            for word, state, table in zip(inputs, states, tables, strict=True):
                votes.setdefault((state, table), [0, 0])[word[place]] += 1
            right += sum(map(max, votes.values()))
        best = max(best, right)
    return best / (length * len(inputs))


def recall_last(word: Sequence[int]) -> Hashable:
    """As `recall_first`, but for each symbol's last occurrence."""
    return frozenset(dict(zip(word, [*word[1:], None], strict=True)).items())


@pytest.mark.parametrize("oracle", [nothing, recall_first, recall_last, regular_expressions])
@pytest.mark.parametrize("bits", [0, 1])
def test_the_optimum_equals_that_of_trying_all_readers(oracle, bits):
    found = best_with_oracle(index_problem(3, 2), classes(oracle, words(3, 2)), bits)
    assert found == pytest.approx(best_by_trying_all(3, oracle, bits))


@pytest.mark.parametrize("bits", [0, 1, 2, 3])
def test_an_oracle_that_tells_nothing_is_worth_nothing(bits):
    problem = index_problem(3, 2)
    assert best_with_oracle(problem, classes(nothing, words(3, 2)), bits) == pytest.approx(best_accuracy(problem, bits))


def test_recall_returns_what_follows_each_symbol():
    assert recall_first((0, 0, 1, 0)) == frozenset({(0, 0), (1, 0)})
    assert recall_last((0, 0, 1, 0)) == frozenset({(0, None), (1, 0)})
    assert recall_first((1, 1)) == frozenset({(1, 1)})


@pytest.mark.parametrize(("length", "alphabet"), [(3, 2), (4, 2), (5, 2), (3, 3)])
def test_with_recall_a_reader_needs_a_state_and_with_regular_expressions_none(length, alphabet):
    rows = oracle_rows(length, alphabet, range(length))
    assert [row.regular_expressions for row in rows] == [1.0] * length
    assert rows[0].recall < 1
    assert np.diff([row.recall for row in rows]).min() >= 0
    assert all(row.alone <= row.recall <= ceiling_with_recall(length, alphabet, row.bits) for row in rows)


@pytest.mark.parametrize(("alphabet", "longest", "tables"), [(2, 8, 15), (3, 7, 112)])
def test_recall_has_at_most_the_counted_number_of_tables(alphabet, longest, tables):
    """Three symbols have more than 4^3 = 64 tables, because nothing may follow the input's last symbol."""
    assert tables_of_recall(alphabet) == tables
    found = [len(classes(recall_first, words(n, alphabet))) for n in range(1, longest + 1)]
    assert max(found) <= tables
    assert alphabet == 2 or max(found) > (alphabet + 1) ** alphabet


def test_the_bits_that_a_reader_with_recall_needs_grow_with_the_length():
    enough = [next(row.bits for row in oracle_rows(n, 2, range(n)) if row.recall == 1) for n in (3, 4, 5)]
    assert enough == [1, 2, 3]


def test_at_1000_tokens_recall_and_a_hundred_bits_are_far_from_enough():
    assert ceiling_with_recall(1000, 2, 100) < 0.69
    assert ceiling_with_recall(1000, 2, 1000) == 1


def test_recall_of_the_first_occurrence_is_worth_more_than_of_the_last():
    problem, inputs = index_problem(4, 2), words(4, 2)
    first, last = (best_with_oracle(problem, classes(oracle, inputs), 1) for oracle in (recall_first, recall_last))
    assert first > last
