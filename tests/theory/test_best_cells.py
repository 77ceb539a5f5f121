"""No protocol beats the best-cell bound; perfect codes reach it; it is exact at both ends."""

import math
from fractions import Fraction
from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval_gap.theory.best_cells import (
    Scores,
    counting_scores,
    distinct_scores,
    divide_up,
    exact_match_scores,
    independent_scores,
)
from retrieval_gap.theory.entropy import fano_ceiling
from retrieval_gap.theory.problems import Problem, best_accuracy, index_problem
from tests.theory.small_problems import copy_problem, counting_problem, distinct_recall_problem, searched_accuracy

ENUMERATED = [
    *((index_problem(n, q), independent_scores(n, q)) for n, q in ((1, 2), (2, 2), (3, 2), (1, 7), (2, 3))),
    *((distinct_recall_problem(m, v), distinct_scores(m, v)) for m, v in ((1, 2), (2, 2), (2, 3), (3, 3), (2, 4))),
    *((counting_problem(a, m), counting_scores(a, m)) for a, m in ((1, 1), (3, 1), (1, 2), (2, 2), (1, 5), (1, 8))),
    *((copy_problem(n, q), exact_match_scores(q**n)) for n, q in ((1, 2), (3, 2), (2, 3))),
]
SEARCHED = [
    *((index_problem(n, q), independent_scores(n, q)) for n, q in ((4, 2), (7, 2), (2, 4), (3, 3), (2, 8))),
    *((distinct_recall_problem(m, v), distinct_scores(m, v)) for m, v in ((3, 4), (4, 4), (2, 7), (3, 6))),
    *((counting_problem(a, m), counting_scores(a, m)) for a, m in ((2, 3), (3, 2), (5, 1), (2, 6), (4, 2))),
]


@pytest.mark.parametrize(("problem", "scores"), ENUMERATED)
def test_no_protocol_at_all_beats_the_bound(problem: Problem, scores: Scores) -> None:
    for bits in range(5):
        assert best_accuracy(problem, bits) <= scores.ceiling(bits) + 1e-12


@pytest.mark.parametrize(("problem", "scores"), SEARCHED)
def test_no_protocol_found_by_local_search_beats_the_bound(problem: Problem, scores: Scores) -> None:
    rng = np.random.default_rng(0)
    for bits in range(6):
        assert searched_accuracy(problem, bits, rng) <= scores.ceiling(bits) + 1e-12


@pytest.mark.parametrize(("problem", "scores"), ENUMERATED)
def test_the_bound_is_exact_at_both_ends(problem: Problem, scores: Scores) -> None:
    prior = best_accuracy(problem, 0)
    assert scores.ceiling(0) == pytest.approx(prior, abs=1e-12)
    enough = math.ceil(math.log2(scores.inputs))
    assert scores.ceiling([enough, enough + 1, 10**9]).tolist() == [1.0, 1.0, 1.0]
    assert scores.ceiling(enough - 1) < 1


@pytest.mark.parametrize(
    ("length", "bits", "optimum"),
    [
        (2, 1, Fraction(3, 4)),  # known optima: keep one bit, or the majority
        (3, 1, Fraction(3, 4)),
        (5, 1, Fraction(11, 16)),  # the majority of five
        (7, 4, Fraction(7, 8)),  # Hamming's code: every string is one change from a codeword
        (15, 11, Fraction(15, 16)),
        (23, 12, 1 - Fraction(sum(math.comb(23, d) * d for d in range(4)), 2**11 * 23)),  # Golay's code
    ],
)
def test_perfect_codes_reach_the_bound(length: int, bits: int, optimum: Fraction) -> None:
    assert independent_scores(length, 2).ceiling(bits) == float(optimum)
    if length <= 3:
        assert best_accuracy(index_problem(length, 2), bits) == pytest.approx(float(optimum))


@given(length=st.integers(1, 60), alphabet=st.integers(2, 40), data=st.data())
def test_more_bits_never_hurt_and_longer_sequences_never_help(length: int, alphabet: int, data: st.DataObject) -> None:
    bits = sorted(data.draw(st.lists(st.integers(0, 400), min_size=2, max_size=12)))
    for scores in (independent_scores, distinct_scores):
        values = alphabet + length + 1 if scores is distinct_scores else alphabet
        ceilings = scores(length, values).ceiling(bits)
        assert (np.diff(ceilings) >= 0).all()
        assert ceilings[0] >= 1 / values
        assert (ceilings <= 1).all()
        assert (scores(length + 1, values).ceiling(bits) <= ceilings).all()


@settings(deadline=None)
@given(length=st.integers(1, 200), alphabet=st.integers(2, 64), bits=st.integers(0, 1500))
def test_the_bound_is_never_above_fanos_ceiling(length: int, alphabet: int, bits: int) -> None:
    assert independent_scores(length, alphabet).ceiling(bits) <= fano_ceiling(bits / length, alphabet) + 1e-12


def test_the_bound_is_close_to_fanos_ceiling_on_long_sequences() -> None:
    assert independent_scores(1000, 16).ceiling(1000) == pytest.approx(fano_ceiling(1.0, 16), abs=5e-3)


@pytest.mark.parametrize(("answers", "values"), [(1, 2), (2, 2), (3, 3), (3, 5), (4, 6)])
def test_counts_equal_those_of_an_enumeration(answers: int, values: int) -> None:
    table = tuple(range(answers))
    for inputs, scores in (
        (list(product(range(values), repeat=answers)), independent_scores(answers, values)),
        (permutations(range(values), answers), distinct_scores(answers, values)),
    ):
        right = [sum(a == b for a, b in zip(x, table, strict=True)) for x in inputs]
        assert np.bincount(right, minlength=answers + 1).tolist() == list(scores.counts)


@pytest.mark.parametrize(("letters", "most"), [(1, 1), (1, 4), (2, 2), (3, 3), (2, 5)])
def test_no_table_for_counting_is_right_on_more_inputs_than_the_middle_count(letters: int, most: int) -> None:
    """A step of the proof for counting: the middle count is best at every level, even against arbitrary tables."""
    counts = np.array(list(product(range(most + 1), repeat=letters)))
    at_least = counting_scores(letters, most).at_least
    for table in product(product((False, True), repeat=most), repeat=letters):
        right = (np.array(table) == (counts[:, :, None] > np.arange(most))).sum((1, 2))
        assert all((right >= letters * most - k).sum() <= at_least[k] for k in range(letters * most))


@pytest.mark.parametrize(("most", "prior"), [(1, 1 / 2), (2, 2 / 3), (3, 2 / 3), (4, 7 / 10)])
def test_without_a_state_counting_is_answered_from_the_threshold_alone(most: int, prior: float) -> None:
    by_threshold = [max(most - k, k + 1) / (most + 1) for k in range(most)]
    assert prior == pytest.approx(sum(by_threshold) / most)
    assert counting_scores(5, most).ceiling(0) == pytest.approx(prior)


@pytest.mark.parametrize(("answers", "values"), [(2, 3), (3, 4), (4, 4)])
def test_no_table_has_more_right_answers_above_a_level_than_one_of_different_values(answers: int, values: int) -> None:
    """A step of the proof for recall of different values: such a table dominates in convex order."""
    inputs = np.array(list(permutations(range(values), answers)))
    counts = np.array(distinct_scores(answers, values).counts)
    for table in product(range(values), repeat=answers):
        right = (inputs == table).sum(1)
        for level in range(answers):
            assert np.maximum(right - level, 0).sum() <= (counts * np.maximum(np.arange(answers + 1) - level, 0)).sum()


@given(numerator=st.integers(0, 10**40), denominator=st.integers(1, 10**40))
def test_quotients_are_rounded_up_to_the_next_double(numerator: int, denominator: int) -> None:
    quotient = Fraction(numerator, denominator)
    rounded = divide_up(numerator, denominator)
    assert Fraction(rounded) >= quotient
    assert Fraction(math.nextafter(rounded, -math.inf)) < quotient


def test_a_chance_too_small_for_a_double_is_not_rounded_to_zero() -> None:
    assert exact_match_scores(16**512).ceiling(0) > 0


@pytest.mark.parametrize("wrong", [(0, 2), (3, 1)])
def test_impossible_sizes_are_refused(wrong: tuple[int, int]) -> None:
    for scores in (independent_scores, distinct_scores):
        with pytest.raises(ValueError, match="expected"):
            scores(*wrong)
    with pytest.raises(ValueError, match="do not fit"):
        distinct_scores(3, 2)
    with pytest.raises(ValueError, match="below zero"):
        independent_scores(3, 2).ceiling(-1)
    with pytest.raises(ValueError, match="too many"):
        best_accuracy(index_problem(5, 2), 1)
