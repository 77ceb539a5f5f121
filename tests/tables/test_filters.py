"""A filter chooses by columns and by a task's own options; numbers match in any spelling."""

import pytest

from retrieval_gap.machine.errors import UsageError
from retrieval_gap.tables.filters import conditions, select
from retrieval_gap.tables.rows import Sourced

CELL = {"task": "echo", "n": 8, "lr": 0.001, "seed": 0, "options": "lag=2 values=4 order=3,7 word='a b'"}
OTHER = CELL | {"task": "istree", "options": ""}


def kept(only: str, *rows: dict[str, object]) -> list[bool]:
    chosen = [source.row for source in select([Sourced("", row) for row in rows], only)]
    return [row in chosen for row in rows]


@pytest.mark.parametrize(
    ("only", "matches"),
    [
        ("", True),
        ("n=8 lr=1e-3", True),
        ("n=16,8", True),
        ("n=16", False),
        ("lag=2", True),
        ("lag=02 values=4,16", True),
        ("n=8 lag=4", False),
        ("task=echo lag=4,6", False),
        ("order=3,7", True),
        ("order=3,8", False),
        ("order=random,last", False),
        ("'word=a b'", True),
        ("word='a b'", True),
        ("word=a", False),
    ],
)
def test_a_key_is_a_column_or_an_option(only: str, matches: bool) -> None:
    assert kept(only, CELL) == [matches]
    assert kept(only, {key: str(value) for key, value in CELL.items()}) == [matches]  # as in a table


def test_a_row_without_the_option_does_not_match_in_any_order_of_the_conditions() -> None:
    for only in ("lag=2", "lag=2 task=echo", "task=echo lag=2"):
        assert kept(only, OTHER, CELL, OTHER) == [False, True, False]


def test_a_key_that_no_row_has_is_refused_and_its_neighbour_named() -> None:
    with pytest.raises(UsageError, match=r"unknown filter key 'lagg'.*did you mean 'lag'"):
        kept("n=9 lagg=2", OTHER, CELL)
    assert kept("lagg=2") == []


def test_an_open_quote_is_refused() -> None:
    with pytest.raises(UsageError, match="--only word='a: a quote is not closed"):
        conditions("word='a")
