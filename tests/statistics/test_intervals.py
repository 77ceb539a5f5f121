"""Intervals agree with the textbooks and with scipy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from retrieval_gap.statistics.intervals import (
    Interval,
    newcombe_interval,
    paired_t_interval,
    prediction_interval,
    t_quantile,
    t_within,
    welch_interval,
)


@pytest.mark.parametrize(
    ("ours", "theirs", "low", "high"),
    [  # Newcombe 1998, Statistics in Medicine 17, table II: rows of method 10
        ((56, 70), (48, 80), 0.0524, 0.3339),
        ((9, 10), (3, 10), 0.1705, 0.8090),
        ((6, 7), (2, 7), 0.0582, 0.8062),
        ((5, 56), (0, 29), -0.0381, 0.1926),
        ((0, 10), (0, 20), -0.1611, 0.2775),
        ((10, 10), (0, 20), 0.6791, 1.0000),
        ((10, 10), (0, 10), 0.6075, 1.0000),
    ],
)
def test_newcombes_interval_matches_his_own_examples(
    ours: tuple[int, int], theirs: tuple[int, int], low: float, high: float
) -> None:
    interval = newcombe_interval(ours[0] / ours[1], ours[1], theirs[0] / theirs[1], theirs[1])
    assert interval == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize(
    ("degrees", "t"),
    [(1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (5, 2.571), (9, 2.262), (10, 2.228), (30, 2.042), (120, 1.980)],
)
def test_students_t_matches_the_tables(degrees: int, t: float) -> None:
    assert t_quantile(degrees) == pytest.approx(t, abs=5e-4)


def test_the_paired_interval_matches_that_of_students_own_data() -> None:
    # Student 1908, the sleep of ten patients under two drugs: mean difference 1.58, 95 % interval 0.70 to 2.46
    hours = [1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4]
    assert paired_t_interval(hours) == pytest.approx((0.7001142, 2.4598858), abs=1e-6)


def test_welchs_interval_is_wider_than_with_fractional_degrees_and_has_the_same_middle() -> None:
    first = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
    second = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
    low, high = welch_interval(first, second)
    known_low, known_high = -3.3654832, 0.2054832  # R: t.test(extra ~ group, data = sleep), 17.78 degrees
    assert low + high == pytest.approx(known_low + known_high)
    assert known_low - 0.01 < low < known_low


@pytest.mark.parametrize("seeds", [2, 3, 5, 20])
def test_a_prediction_interval_holds_a_further_value_19_times_in_20(seeds: int) -> None:
    drawn = np.random.default_rng(0).normal(0.8, 0.03, (4_000, seeds + 1))
    intervals = [prediction_interval(list(values)) for values in drawn[:, 1:]]
    held = sum(low <= further <= high for (low, high), further in zip(intervals, drawn[:, 0], strict=True))
    assert held / len(drawn) == pytest.approx(0.95, abs=0.015)


def test_the_interval_of_a_difference_of_shares_is_clipped_at_1() -> None:
    assert Interval(-6.7, 6.0).clipped() == (-1, 1)
    assert Interval(-0.5, 0.25).clipped() == (-0.5, 0.25)


def test_seeds_without_spread_have_an_interval_of_one_point() -> None:
    assert welch_interval([1.0, 1.0], [0.5, 0.5]) == (0.5, 0.5)
    assert paired_t_interval([0.5, 0.5]) == (0.5, 0.5)


@given(st.floats(0, 40), st.integers(1, 300))
def test_students_distribution_matches_scipys(t: float, degrees: int) -> None:
    assert t_within(t, degrees) == pytest.approx(float(stats.t.cdf(t, degrees) - stats.t.cdf(-t, degrees)), abs=1e-9)


@given(st.integers(1, 300), st.floats(0.05, 0.999))
def test_quantiles_of_students_distribution_match_scipys(degrees: int, within: float) -> None:
    assert t_quantile(degrees, within) == pytest.approx(float(stats.t.ppf((1 + within) / 2, degrees)), rel=1e-6)
