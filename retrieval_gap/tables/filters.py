"""Filters of cells and of rows, such as 'n=8 arch=mamba,lstm mode=cot', also by a task's own options: 'values=4'."""

import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from retrieval_gap.machine.errors import UsageError, unknown
from retrieval_gap.tables.values import option_values

Item = TypeVar("Item")
Values = Mapping[str, Any]
Condition = tuple[str, str]
"""A key and the values that it may have, separated by commas."""


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


def select(
    items: Iterable[Item], only: str, values: Callable[[Item], Values], options: Callable[[Item], Values]
) -> list[Item]:
    """The items that match a filter.  values, options: an item's columns, and its task's own options; the latter are
    asked for only if a key is no column.  An item without a key does not match: tasks differ in their options.

    Raises UsageError for a key that no item has.
    """
    wanted = conditions(only)
    found, known = list[Item](), dict[str, None]()
    for item in items:
        told = values(item)
        if any(key not in told for key, _ in wanted):
            told = {**options(item), **told}
        known.update(dict.fromkeys(told))
        if meets(told, wanted):
            found.append(item)
    for key, _ in wanted:
        if known and key not in known:
            raise unknown("filter key", key, known)
    return found


def select_rows(rows: Iterable[Item], only: str, row_of: Callable[[Item], Values]) -> list[Item]:
    """The rows of tables that match a filter.  Raises UsageError for a key that none has."""
    return select(rows, only, row_of, lambda item: options_of_row(row_of(item)))


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
