"""Paired comparisons agree with scipy, with statsmodels and with cases that can be counted by hand."""

from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from retrieval_gap.statistics.intervals import wilson_interval
from retrieval_gap.statistics.paired import holm, holm_of_known, mcnemar_exact, paired_difference

SHARES = st.floats(0, 1)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=300))
def test_mcnemar_agrees_with_statsmodels_and_with_the_binomial_test(pairs: list[tuple[bool, bool]]) -> None:
    ours = mcnemar_exact([a for a, _ in pairs], [b for _, b in pairs])
    table = [[sum(pair == (a, b) for pair in pairs) for b in (True, False)] for a in (True, False)]
    assert ours.p == pytest.approx(float(mcnemar(table, exact=True).pvalue), abs=1e-12)
    if ours.first_only + ours.second_only:
        binomial = stats.binomtest(ours.first_only, ours.first_only + ours.second_only, 0.5)
        assert ours.p == pytest.approx(float(binomial.pvalue), abs=1e-12)


def test_mcnemar_of_ten_to_two_matches_a_table_of_the_binomial() -> None:
    first, second = [True] * 10 + [False] * 2 + [True], [False] * 10 + [True] * 2 + [True]
    assert mcnemar_exact(first, second) == (10, 2, pytest.approx(2 * (1 + 12 + 66) / 4096))


@given(st.lists(SHARES, min_size=1, max_size=12))
def test_holm_agrees_with_statsmodels(p_values: list[float]) -> None:
    with mock.patch("gc.collect"):  # theirs collects all garbage at each call: a second after many tests
        theirs = multipletests(p_values, method="holm")[1]
    assert holm(p_values) == pytest.approx(theirs.tolist())


def test_unknown_p_values_are_not_corrected_for() -> None:
    assert holm_of_known([0.02, None, 0.01]) == [0.02, None, 0.02]
    assert holm_of_known([None]) == [None]
    assert holm_of_known([]) == []


def test_with_groups_of_one_item_the_result_is_scipys_paired_t_test() -> None:
    rng = np.random.default_rng(5)
    first, second = rng.random(8), rng.random(8) * 0.8
    ours = paired_difference(list(first), list(second), range(8), draws=50_000)
    theirs = stats.ttest_rel(first, second)
    assert ours.mean == pytest.approx(float(np.mean(first - second)))
    assert ours.interval == pytest.approx(tuple(theirs.confidence_interval()), abs=0.01)
    assert ours.p == pytest.approx(float(theirs.pvalue), abs=0.01)


def test_items_that_repeat_within_their_group_do_not_narrow_the_interval() -> None:
    rng = np.random.default_rng(7)
    values = list(rng.normal(size=20))
    once = paired_difference(values, [0.0] * 20, range(20))
    often = paired_difference(values * 5, [0.0] * 100, [*range(20)] * 5)
    assert often.interval == pytest.approx(once.interval)
    assert (often.items, often.groups) == (100, 20)


@pytest.mark.parametrize("groups", [2, 5, 40])
def test_the_interval_holds_the_truth_95_times_in_100_and_p_is_seldom_small_by_chance(groups: int) -> None:
    rng, held, rejected, times, items = np.random.default_rng(11), 0, 0, 1000, 5
    for seed in range(times):
        effect = rng.normal(size=groups)  # of a group, shared by its items
        values = (effect[:, None] + rng.normal(size=(groups, items))).ravel()
        places = np.repeat(np.arange(groups), items)
        found = paired_difference(values, [0.0] * len(values), places, draws=300, seed=seed)
        assert found.interval is not None
        assert found.p is not None
        held += found.interval.low <= 0 <= found.interval.high
        rejected += found.p < 0.05
    assert held / times >= 0.93
    assert rejected / times <= 0.07


@pytest.mark.parametrize("groups", [2, 3, 5])
def test_methods_equal_on_average_that_differ_by_group_are_seldom_called_different(groups: int) -> None:
    """McNemar's test, which takes items as independent, calls them different about half of the time."""
    rng, over_groups, over_items, times, items = np.random.default_rng(3), 0, 0, 400, 100
    for seed in range(times):
        first, second = (
            (rng.random((groups, items)) < rng.uniform(0.2, 0.8, size=(groups, 1))).ravel() for _ in range(2)
        )
        p = paired_difference(first, second, np.repeat(np.arange(groups), items), draws=300, seed=seed).p
        over_groups += p is not None and p < 0.05
        over_items += mcnemar_exact(list(first), list(second)).p < 0.05
    assert over_groups / times <= 0.07
    assert over_items / times > 0.4


def test_one_group_has_no_interval_and_no_p() -> None:
    assert paired_difference([1.0, 0.0], [0.0, 0.0], ["a", "a"]) == (0.5, None, None, 2, 1)


@pytest.mark.parametrize("groups", [2, 3, 20])
def test_if_all_groups_are_right_or_all_are_wrong_the_interval_is_wilsons(groups: int) -> None:
    for share in (0.0, 1.0):
        found = paired_difference([share] * groups, [0.0] * groups, range(groups), low=0, high=1)
        assert found.interval == pytest.approx(wilson_interval(share, groups))


def test_groups_that_are_all_alike_give_no_p_and_no_interval_without_bounds() -> None:
    third = [1.0, 0.0, 0.0]
    found = paired_difference(third * 4, [0.1] * 12, np.repeat(range(4), 3), low=-1, high=1)
    assert found.p is None
    assert found.interval is not None
    assert -1 < found.interval.low < found.mean < found.interval.high < 1
    assert paired_difference(third * 4, [0.1] * 12, np.repeat(range(4), 3)).interval is None  # any value is possible
    assert paired_difference(third, third, "abc").p == 1


def test_unpaired_items_and_impossible_p_values_are_refused() -> None:
    with pytest.raises(ValueError, match="not paired items"):
        paired_difference([1.0], [], ["a"])
    with pytest.raises(ValueError, match="shorter"):
        mcnemar_exact([True], [])
    with pytest.raises(ValueError, match="from 0 to 1"):
        holm([1.5])
