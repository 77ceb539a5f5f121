"""A filter chooses by columns and by a task's own options; numbers match in any spelling."""

import pytest

from retrieval_gap.machine.errors import UsageError
from retrieval_gap.tables.filters import matches

CELL = {"task": "echo", "n": 8, "lr": 0.001, "seed": 0, "options": "lag=2 values=4 order=3,7"}


@pytest.mark.parametrize(
    ("only", "kept"),
    [
        ("", True),
        ("n=8 lr=1e-3", True),
        ("n=16,8", True),
        ("n=16", False),
        ("lag=2", True),
        ("lag=02 values=4,16", True),
        ("n=8 lag=4", False),
        ("task=echo lag=4,6", False),
    ],
)
def test_a_key_is_a_column_or_an_option(only: str, kept: bool) -> None:
    assert matches(CELL, only) is kept
    assert matches({key: str(value) for key, value in CELL.items()}, only) is kept  # a table's row


def test_an_unknown_key_is_refused_and_its_neighbour_named() -> None:
    with pytest.raises(UsageError, match=r"unknown filter key 'lagg'.*did you mean 'lag'"):
        matches(CELL, "lagg=2")


def test_an_option_that_other_tasks_lack_is_refused_only_where_the_rest_matches() -> None:
    other = CELL | {"task": "istree", "options": ""}
    assert not matches(other, "task=echo lag=2")
    with pytest.raises(UsageError, match="unknown filter key 'lag'"):
        matches(other, "task=istree lag=2")
