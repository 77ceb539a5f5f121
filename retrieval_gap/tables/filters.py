"""Filters of cells and of rows, such as 'n=8 arch=mamba,lstm mode=cot', also by a task's own options: 'values=4'."""

import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from retrieval_gap.machine.errors import UsageError, unknown
from retrieval_gap.tables.values import option_values

Values = Mapping[str, Any]
Condition = tuple[str, str]
"""A key and the values that it may have, separated by commas."""


class Filtered(Protocol):
    """What a filter chooses: a row of a table, a cell, a run."""

    def filter_values(self) -> Values:
        """Its columns."""

    def own_options(self) -> Values:
        """Its task's own options, by name; asked for only if a key is no column."""


Item = TypeVar("Item", bound=Filtered)


def conditions(only: str) -> list[Condition]:
    """The conditions of a filter; shell quotes hold a value with spaces.  Raises UsageError for an open quote."""
    try:
        words = shlex.split(only)
    except ValueError:
        raise UsageError(f"--only {only}: a quote is not closed") from None
    return [(key, wanted) for key, _, wanted in (word.partition("=") for word in words)]


def meets(values: Values, wanted: Sequence[Condition]) -> bool:
    """Whether there is each key among the values, and it has one of its wanted values."""
    return all(key in values and _is_one_of(values[key], text) for key, text in wanted)


def select(items: Iterable[Item], only: str) -> list[Item]:
    """The items that match a filter.  An item without a key does not match: tasks differ in their options.

    Raises UsageError for a key that no item has.
    """
    wanted = conditions(only)
    found, known = list[Item](), dict[str, None]()
    for item in items:
        told = item.filter_values()
        if any(key not in told for key, _ in wanted):
            told = {**item.own_options(), **told}
        known.update(dict.fromkeys(told))
        if meets(told, wanted):
            found.append(item)
    for key, _ in wanted:
        if known and key not in known:
            raise unknown("filter key", key, known)
    return found


def options_of_row(row: Values) -> Values:
    """The options of a row's task, by name."""
    return option_values(str(row.get("options") or ""))


def _is_one_of(value: Any, wanted: str) -> bool:
    """A comma may belong to the value itself, as in order=3,7."""
    return any(_is(value, word) for word in (wanted, *wanted.split(",")))


def _is(value: Any, word: str) -> bool:
    """Compares numbers in any spelling: 1e-3 is 0.001."""
    try:
        return str(value) == word or float(value) == float(word)
    except (TypeError, ValueError):
        return False
