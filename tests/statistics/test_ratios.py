"""Scores that are ratios of sums, their differences and their intervals match known cases."""

import numpy as np
import pytest
from scipy import stats

from retrieval_gap.statistics.intervals import wilson_interval
from retrieval_gap.statistics.paired import holm, paired_difference
from retrieval_gap.statistics.ratios import Counts, score_difference, score_interval, standard_error

EXAMPLES, SEEDS = 400, 3


def _counts(share: float, seed: int, seeds: int = SEEDS) -> Counts:
    rng = np.random.default_rng(seed)
    return Counts((rng.random((seeds, EXAMPLES)) < share).astype(float), np.ones((seeds, EXAMPLES)))


GROUPS = [str(number // 2) for number in range(EXAMPLES)]


def test_accuracy_is_the_mean_over_examples_and_seeds() -> None:
    counts = _counts(0.7, 0)
    assert counts.score == pytest.approx(counts.numerator_SxI.mean())


def test_with_one_seed_a_difference_matches_the_paired_bootstrap_over_groups() -> None:
    one, other = _counts(0.7, 0, 1), _counts(0.6, 1, 1)
    ours = score_difference(one, other, GROUPS)
    theirs = paired_difference(one.numerator_SxI[0], other.numerator_SxI[0], GROUPS)
    assert theirs.interval is not None
    assert ours.value == pytest.approx(theirs.mean)
    assert ours.interval == pytest.approx(theirs.interval)


def test_with_few_groups_of_one_size_the_error_is_that_of_their_mean() -> None:
    values = np.random.default_rng(0).random((1, 6))
    size, degrees = standard_error([Counts(values, np.ones((1, 6)))], range(6), draws=100_000)
    assert size == pytest.approx(stats.sem(values[0]), rel=0.01)
    assert degrees == 5


def test_f1_is_a_ratio_of_sums_and_not_a_mean_of_ratios() -> None:
    counts = Counts(np.array([[2.0, 0.0, 2.0]]), np.array([[2.0, 0.0, 6.0]]))
    assert counts.score == pytest.approx(4 / 8)
    assert Counts(np.zeros((1, 3)), np.zeros((1, 3))).score == 0


def test_a_head_does_not_differ_from_itself() -> None:
    counts = _counts(0.7, 0)
    found = score_difference(counts, counts, GROUPS)
    assert found.value == 0
    assert found.interval == (0, 0)
    assert found.p == 1


def test_a_real_difference_is_found_and_none_is_found_between_equal_scores() -> None:
    found = score_difference(_counts(0.8, 0, 5), _counts(0.6, 1, 5), GROUPS)
    assert found.interval.low > 0
    assert found.p is not None
    assert found.p < 0.01
    same = score_difference(_counts(0.7, 2), _counts(0.7, 3), GROUPS)
    assert same.interval.low < 0 < same.interval.high
    assert same.p is not None
    assert same.p > 0.05


def test_two_hundred_large_differences_are_all_found_after_holms_correction() -> None:
    found = score_difference(_counts(0.99, 0, 5), _counts(0.5, 1, 5), GROUPS)
    assert found.p is not None
    assert max(holm([found.p] * 200)) < 0.001


def test_one_seed_has_an_interval_over_examples_and_no_p() -> None:
    found = score_difference(_counts(0.8, 0, 1), _counts(0.6, 1, 1), GROUPS)
    assert found.p is None
    assert found.interval.low > 0


def test_one_group_of_examples_tells_nothing() -> None:
    found = score_difference(_counts(0.99, 0), _counts(0.5, 1), ["all"] * EXAMPLES)
    assert (found.interval, found.detectable, found.p) == ((-1, 1), 1, 1)
    assert score_interval(_counts(0.99, 0), ["all"] * EXAMPLES) == (0, 1)


def test_if_all_are_right_the_interval_is_wilsons_of_the_groups() -> None:
    right = Counts(np.ones((SEEDS, EXAMPLES)), np.ones((SEEDS, EXAMPLES)))
    assert score_interval(right, GROUPS) == wilson_interval(1.0, EXAMPLES // 2)


@pytest.mark.parametrize("seeds", [2, 3, 5])
@pytest.mark.parametrize("effect", ["normal", "learned or not"])
def test_equal_scores_are_seldom_called_different(seeds: int, effect: str) -> None:
    """The seeds of both vary alike.  Of 400 tests at 5 % about 20 are wrong; `learned or not` is far from normal."""
    rng = np.random.default_rng(seeds)
    examples, wrong = 120, 0
    for _ in range(400):
        if effect == "normal":
            share_2xS = np.clip(0.7 + 0.08 * rng.standard_normal((2, seeds)), 0, 1)
        else:
            share_2xS = np.where(rng.random((2, seeds)) < 0.5, 0.95, 0.5)
        one, other = (
            Counts((rng.random((seeds, examples)) < share_S[:, None]).astype(float), np.ones((seeds, examples)))
            for share_S in share_2xS
        )
        p = score_difference(one, other, range(examples), draws=200).p
        assert p is not None
        wrong += p < 0.05
    assert wrong <= (32 if effect == "normal" else 48)


def test_the_smallest_detectable_difference_is_2_8_standard_errors() -> None:
    one, other = _counts(0.5, 0, 1), _counts(0.5, 1, 1)
    difference = one.numerator_SxI[0] - other.numerator_SxI[0]
    by_group = difference.reshape(-1, 2).mean(1)
    error = by_group.std(ddof=1) / np.sqrt(len(by_group))
    assert score_difference(one, other, GROUPS, draws=8000).detectable == pytest.approx(2.8016 * error, rel=0.05)


def test_the_interval_covers_the_score_and_narrows_with_more_examples() -> None:
    counts = _counts(0.7, 0)
    few = Counts(*(part[:, :40] for part in counts))
    low, high = score_interval(counts, GROUPS)
    few_low, few_high = score_interval(few, GROUPS[:40])
    assert low < counts.score < high
    assert high - low < few_high - few_low


def test_lists_of_different_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="are not paired examples"):
        score_difference(_counts(0.7, 0), _counts(0.7, 1), GROUPS[:-1])
    with pytest.raises(ValueError, match="are not paired examples"):
        score_difference(_counts(0.7, 0), _counts(0.7, 1, 2), GROUPS)
