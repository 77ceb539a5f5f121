"""Rows are averaged to one point only if they differ in nothing but their seed."""

from itertools import permutations

import pytest

from retrieval_gap.machine.errors import UsageError
from retrieval_gap.tables.identity import Identity, Setting, check_seeds, identity_of, longest
from tests.tables.result_rows import full_row


def warmed_up(seed: int, samples: str) -> Identity:
    return Identity(f"line {seed}", str(seed), (("warmup_samples", samples),))


@pytest.mark.parametrize("order", list(permutations(["", "3200", "99999"])))
def test_a_row_without_warmup_samples_hides_no_difference_between_two_that_have_them(order: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match=r"differ in warmup_samples \((3200, 99999|99999, 3200)\)"):
        check_seeds(warmed_up(seed, samples) for seed, samples in enumerate(order))


@pytest.mark.parametrize("order", list(permutations(["", "", "3200", "3200"])))
def test_a_row_without_warmup_samples_matches_any_row_that_has_them(order: tuple[str, ...]) -> None:
    check_seeds(warmed_up(seed, samples) for seed, samples in enumerate(order))


def test_in_other_columns_an_empty_value_is_a_setting_of_its_own() -> None:
    rows = [identity_of("here", full_row()), identity_of("there", full_row(seed=1, curriculum="4+8"))]
    with pytest.raises(UsageError, match=r"differ in curriculum \(none, 4\+8\), .*; leave one out"):
        check_seeds(rows, "leave one out")


def test_a_row_has_the_same_setting_as_text_and_as_numbers() -> None:
    row = full_row(task="index", options="values=4", eval_split="validation")
    as_text = {column: "" if value is None else str(value) for column, value in row.items()}
    setting = Setting("index", "two_star", "cot", 16, "values=4", "mamba", "1m", "validation")
    assert identity_of("here", row).setting == identity_of("here", as_text).setting == setting


def test_a_row_without_split_and_options_is_of_the_test_split_without_options() -> None:
    row = {column: value for column, value in full_row().items() if column not in ("options", "eval_split")}
    assert identity_of("here", row).setting == Setting("istree", "two_star", "cot", 16, "", "mamba", "1m", "test")


def test_the_longest_trained_rows_are_all_that_have_the_most_samples() -> None:
    assert longest(["aaa", "b", "ccc"], len) == ["aaa", "ccc"]
