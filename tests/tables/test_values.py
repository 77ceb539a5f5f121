"""Fields are read as numbers; anything else is an error that names its place and column."""

from collections.abc import Callable, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval_gap.machine.errors import UsageError
from retrieval_gap.tables.values import count_in, count_or_none, number_in, share_in

Reader = Callable[[str, Mapping[str, str], str], int | float]


@given(st.integers())
def test_a_whole_number_is_read_as_it_was_written(number: int) -> None:
    assert count_in("here", {"n": str(number)}, "n") == number


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_is_read_as_it_was_written(number: float) -> None:
    assert number_in("here", {"lr": str(number)}, "lr") == number


@given(st.floats(0, 1))
def test_a_share_is_read_as_it_was_written(share: float) -> None:
    assert share_in("here", {"accuracy": str(share)}, "accuracy") == share


@pytest.mark.parametrize(
    ("read", "text", "why"),
    [
        (count_in, "8.5", "is not a whole number"),
        (count_in, "", "is not a whole number"),
        (count_in, "1_0", "is not a whole number"),
        (count_in, "\u0661", "is not a whole number"),
        (count_in, "9" * 5000, "is not a whole number"),
        (number_in, "1_0", "is not a number"),
        (number_in, "high", "is not a number"),
        (number_in, "inf", "is not a number"),
        (number_in, "nan", "is not a number"),
        (share_in, "1.5", "is not a share between 0 and 1"),
        (share_in, "-0.1", "is not a share between 0 and 1"),
        (share_in, "nan", "is not a share between 0 and 1"),
    ],
)
def test_the_error_for_a_bad_value_names_its_place_and_column(read: Reader, text: str, why: str) -> None:
    with pytest.raises(UsageError) as told:
        read("t.csv, line 2", {"x": text}, "x")
    assert str(told.value) == f"t.csv, line 2: x = {text!r} {why}"


@pytest.mark.parametrize("samples", ["0", "-3"])
def test_a_number_of_evaluation_samples_below_1_is_an_error(samples: str) -> None:
    with pytest.raises(UsageError, match=f"t.csv, line 2: eval_samples = '{samples}' is below 1"):
        count_in("t.csv, line 2", {"eval_samples": samples}, "eval_samples")


def test_an_empty_or_missing_value_is_none() -> None:
    assert count_or_none("here", {"bits": "4"}, "bits") == 4
    assert count_or_none("here", {"bits": ""}, "bits") is count_or_none("here", {}, "bits") is None
