"""Paired comparisons, against scipy and statsmodels and against cases that can be counted by hand."""

from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from retrieval_gap.statistics.paired import holm, mcnemar_exact, paired_difference

SHARES = st.floats(0, 1)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=300))
def test_mcnemar_agrees_with_statsmodels_and_with_the_binomial_test(pairs: list[tuple[bool, bool]]) -> None:
    ours = mcnemar_exact([a for a, _ in pairs], [b for _, b in pairs])
    table = [[sum(pair == (a, b) for pair in pairs) for b in (True, False)] for a in (True, False)]
    assert ours.p == pytest.approx(float(mcnemar(table, exact=True).pvalue), abs=1e-12)
    if ours.first_only + ours.second_only:
        binomial = stats.binomtest(ours.first_only, ours.first_only + ours.second_only, 0.5)
        assert ours.p == pytest.approx(float(binomial.pvalue), abs=1e-12)


def test_mcnemar_of_ten_to_two_is_what_a_table_of_the_binomial_says() -> None:
    first, second = [True] * 10 + [False] * 2 + [True], [False] * 10 + [True] * 2 + [True]
    assert mcnemar_exact(first, second) == (10, 2, pytest.approx(2 * (1 + 12 + 66) / 4096))


@given(st.lists(SHARES, min_size=1, max_size=12))
def test_holm_agrees_with_statsmodels(p_values: list[float]) -> None:
    with mock.patch("gc.collect"):  # theirs collects all garbage at each call, a second where many tests have run
        theirs = multipletests(p_values, method="holm")[1]
    assert holm(p_values) == pytest.approx(theirs.tolist())


def test_the_bootstrap_of_groups_of_one_agrees_with_scipys() -> None:
    rng = np.random.default_rng(5)
    first, second = rng.random(60), rng.random(60) * 0.8
    ours = paired_difference(list(first), list(second), range(60))
    theirs = stats.bootstrap((first - second,), np.mean, method="percentile", n_resamples=10_000, random_state=1)
    assert ours.mean == pytest.approx(float(np.mean(first - second)))
    assert ours.interval == pytest.approx(tuple(theirs.confidence_interval), abs=0.01)


def test_items_that_repeat_within_their_group_do_not_narrow_the_interval() -> None:
    rng = np.random.default_rng(7)
    values = list(rng.normal(size=20))
    once = paired_difference(values, [0.0] * 20, range(20))
    often = paired_difference(values * 5, [0.0] * 100, [*range(20)] * 5)
    assert often.interval == pytest.approx(once.interval)
    assert (often.items, often.groups) == (100, 20)


def test_the_interval_holds_the_truth_about_95_times_in_100() -> None:
    rng, held = np.random.default_rng(11), 0
    for seed in range(200):
        effect = rng.normal(0.3, 1.0, size=40)  # a group's own; its items share it
        values = (effect[:, None] + rng.normal(size=(40, 5))).ravel()
        interval = paired_difference(values, [0.0] * 200, np.repeat(np.arange(40), 5), draws=500, seed=seed).interval
        assert interval is not None
        held += interval.low <= 0.3 <= interval.high
    assert 0.88 <= held / 200 <= 0.99


def test_one_group_has_no_interval() -> None:
    assert paired_difference([1.0, 0.0], [0.0, 0.0], ["a", "a"]) == (0.5, None, 2, 1)


def test_what_is_not_paired_is_refused() -> None:
    with pytest.raises(ValueError, match="no paired items"):
        paired_difference([1.0], [], ["a"])
    with pytest.raises(ValueError, match="shorter"):
        mcnemar_exact([True], [])
    with pytest.raises(ValueError, match="from 0 to 1"):
        holm([1.5])
