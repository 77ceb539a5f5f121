"""Ceilings for queries asked first, paths and word problems: no protocol beats them at sizes where all are tried."""

import math

import numpy as np
import pytest

from retrieval_gap.tasks.api import Task, TaskConfig
from retrieval_gap.tasks.registry import load_task
from retrieval_gap.tasks.word_problem import WordProblem
from retrieval_gap.theory.asked_first import AskedFirst, one_of_ceiling
from retrieval_gap.theory.best_cells import distinct_scores, independent_scores
from retrieval_gap.theory.bounds import bound_of
from retrieval_gap.theory.problems import best_accuracy
from retrieval_gap.theory.word_problems import WordScores
from tests.theory.small_problems import (
    asked_first_problem,
    chains_problem,
    distinct_recall_problem,
    searched_accuracy,
    words_problem,
)

TINY = [(2, 2, 1), (3, 2, 1), (3, 2, 2), (4, 2, 1), (5, 2, 1), (6, 2, 1), (2, 3, 1), (3, 3, 1), (4, 3, 1), (2, 5, 1)]


def configured(name: str, n: int, options: str = "") -> Task:
    return load_task(name)(TaskConfig(n=n, options=options))


@pytest.mark.parametrize(("items", "alphabet", "cut"), TINY)
def test_no_protocol_that_knows_the_query_beats_its_ceiling(items: int, alphabet: int, cut: int) -> None:
    """The ceiling is the minimum over all cuts, and no cut by itself allows less."""
    asked = AskedFirst(items=items, alphabet=alphabet)
    problem = asked_first_problem(items, alphabet, cut)
    for bits in range(4):
        assert best_accuracy(problem, bits) <= asked.after(cut, 1 << bits) + 1e-12
        assert asked.ceiling(bits) <= asked.after(cut, 1 << bits)


@pytest.mark.parametrize(("items", "alphabet"), [(2, 2), (3, 2), (5, 2), (4, 3), (2, 5)])
def test_the_bits_needed_after_the_first_value_are_enough_and_one_bit_fewer_is_not(items: int, alphabet: int) -> None:
    asked, problem = AskedFirst(items=items, alphabet=alphabet), asked_first_problem(items, alphabet, 1)
    enough = math.ceil(math.log2(asked.states_needed))
    assert best_accuracy(problem, enough) == pytest.approx(1)
    assert best_accuracy(problem, enough - 1) < 1 - 1e-9


@pytest.mark.parametrize("alphabet", [2, 3, 16])
@pytest.mark.parametrize("items", [2, 7, 100])
def test_the_ceiling_asked_first_never_falls_with_bits_and_is_not_below_asked_last(items: int, alphabet: int) -> None:
    bits = np.arange(12)
    first = AskedFirst(items=items, alphabet=alphabet).ceiling(bits)
    assert (np.diff(first) >= 0).all()
    assert first[0] == pytest.approx(1 / alphabet)
    assert (first >= independent_scores(items, alphabet).ceiling(bits) - 1e-12).all()


def test_naming_one_of_many_answers_needs_a_state_for_each() -> None:
    assert one_of_ceiling([0, 2, 3, 90], 5).tolist() == pytest.approx([0.2, 0.8, 1, 1])
    with pytest.raises(ValueError, match="below zero"):
        one_of_ceiling(-1, 5)
    with pytest.raises(ValueError, match="below zero"):
        AskedFirst(items=3, alphabet=2).ceiling(-1)
    with pytest.raises(ValueError, match="expected 2 or more items and values"):
        AskedFirst(items=1, alphabet=2)


@pytest.mark.parametrize("bits", range(4))
def test_no_protocol_for_places_of_a_permutation_beats_the_ceiling(bits: int) -> None:
    assert best_accuracy(distinct_recall_problem(3, 3), bits) <= distinct_scores(3, 3).ceiling(bits) + 1e-12


@pytest.mark.parametrize("levels", [2, 3, 4])
@pytest.mark.parametrize("bits", range(4))
def test_no_protocol_for_two_chains_beats_the_ceiling(levels: int, bits: int) -> None:
    assert best_accuracy(chains_problem(levels), bits) <= independent_scores(levels - 1, 2).ceiling(bits) + 1e-12


@pytest.mark.parametrize("bits", [1, 2, 3])
def test_a_good_protocol_for_longer_chains_is_not_above_the_ceiling(bits: int) -> None:
    found = searched_accuracy(chains_problem(7), bits, np.random.default_rng(0))
    assert 0.5 < found <= independent_scores(6, 2).ceiling(bits) + 1e-12


@pytest.mark.parametrize(("options", "n"), [("group=Z3", 2), ("group=S3", 1), ("group=S3 elements=generators", 2)])
@pytest.mark.parametrize("bits", range(4))
def test_the_ceiling_of_the_last_product_is_the_optimum(options: str, n: int, bits: int) -> None:
    task = WordProblem(TaskConfig(n=8, options=options))
    counts = tuple(map(tuple, task.words_by_product()))[:n]
    problem = words_problem(task.group.product_GxG, task.alphabet, n)
    assert WordScores(counts, each=False).ceiling(bits) == pytest.approx(best_accuracy(problem, bits))


@pytest.mark.parametrize(("options", "n"), [("group=Z3", 3), ("group=S3", 2), ("group=S3 elements=generators", 3)])
@pytest.mark.parametrize("bits", range(3))
def test_the_ceiling_after_each_element_is_the_mean_of_optima_of_readers_that_see_the_element(
    options: str, n: int, bits: int
) -> None:
    """A reader at place t has a state of the elements before it, and then sees the element."""
    task = WordProblem(TaskConfig(n=8, options=options))
    counts = tuple(map(tuple, task.words_by_product()))[:n]
    best_at_each = [
        best_accuracy(words_problem(task.group.product_GxG, task.alphabet, place, next_element=True), bits)
        for place in range(n)
    ]
    scores = WordScores(counts, each=True)
    assert scores.ceiling(bits) == pytest.approx(np.mean(best_at_each))
    assert scores.exact_trace(bits) == pytest.approx(min(best_at_each))


@pytest.mark.parametrize(("group", "bits", "accuracy"), [("Z2", 0, 7 / 12), ("S3", 0, 11 / 36), ("S5", 7, 1)])
def test_a_reader_that_forgets_all_but_the_element_is_not_above_the_ceiling(
    group: str, bits: int, accuracy: float
) -> None:
    """Without a state the first product is its element, and the others are guesses."""
    bound = bound_of(configured("word_problem", 6, f"group={group} ask=each"))
    assert bound.ceiling(bits) == pytest.approx(accuracy)


def test_a_whole_trace_is_as_hard_as_its_hardest_place() -> None:
    scores = WordScores(((3, 1), (1, 1), (2, 2)), each=True)
    assert scores.ceiling([0, 1]) == pytest.approx([(1 + 3 / 4 + 1 / 2) / 3, 1])
    assert scores.exact_trace([0, 1]) == pytest.approx([0.5, 1])
    assert scores.states_needed == 2
    assert WordScores(((3, 1), (1, 1)), each=False).ceiling(0) == pytest.approx(0.5)
    with pytest.raises(ValueError, match="below zero"):
        scores.ceiling(-1)
    with pytest.raises(ValueError, match="at least one word"):
        WordScores((), each=True)


@pytest.mark.parametrize("name", ["index", "associative_recall", "cgram_retrieval", "position_retrieval"])
def test_a_task_asked_first_needs_few_bits_even_on_long_sequences(name: str) -> None:
    last, first = (bound_of(configured(name, 200, f"query={where}")) for where in ("last", "first"))
    assert first.bits_needed < 8 < 200 < last.bits_needed
    assert last.at_query
    assert not first.at_query


def test_the_bits_needed_for_last_write_do_not_depend_on_the_length() -> None:
    needed = {bound_of(configured("last_write", n, "variables=4 values=8")).bits_needed for n in (8, 64, 4096)}
    assert needed == {12.0}
