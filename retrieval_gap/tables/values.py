"""Parse the fields of a table's rows: whole numbers, numbers and shares; and sort them.

Errors name the field's place.
"""

import math
import re
import shlex
from collections.abc import Callable, Container, Mapping
from typing import TypeVar

from retrieval_gap.machine.errors import UsageError

Value = TypeVar("Value")
# In ASCII digits, without the underscores and blanks that Python allows.
_WHOLE, _PLAIN = re.compile(r"[-+]?[0-9]{1,4000}"), re.compile(r"[-+.0-9A-Za-z]+")
_LEAST = {"eval_samples": 1}  # a share needs at least one sample


def count_in(where: str, row: Mapping[str, str], column: str) -> int:
    """Raises UsageError if the field is not a whole number."""
    return _placed(where, whole_number, row, column)


def count_or_none(where: str, row: Mapping[str, str], column: str) -> int | None:
    """Like `count_in`, but None for a missing or empty field."""
    return count_in(where, row, column) if row.get(column) else None


def number_in(where: str, row: Mapping[str, str], column: str) -> float:
    """Raises UsageError if the field is not a finite number."""
    return _placed(where, finite_number, row, column)


def share_in(where: str, row: Mapping[str, str], column: str) -> float:
    """Raises UsageError if the field is not a share."""
    return _placed(where, share_of_one, row, column)


def _placed(where: str, read: Callable[[str, str], Value], row: Mapping[str, str], column: str) -> Value:
    try:
        return read(column, row[column])
    except ValueError as error:
        raise UsageError(f"{where}: {error}") from None


def whole_number(column: str, text: str) -> int:
    """Raises ValueError, naming the column, if the text is not a whole number or below the column's minimum."""
    if not _WHOLE.fullmatch(text):
        raise ValueError(f"{column} = {text!r} is not a whole number")
    number = int(text)
    if number < _LEAST.get(column, number):
        raise ValueError(f"{column} = {text!r} is below {_LEAST[column]}")
    return number


def finite_number(column: str, text: str) -> float:
    """Raises ValueError, naming the column, if the text is not one."""
    number = _number(text)
    if not math.isfinite(number):
        raise ValueError(f"{column} = {text!r} is not a number")
    return number


def share_of_one(column: str, text: str) -> float:
    """A number from 0 to 1.  Raises ValueError, naming the column, if the text is not one."""
    share = _number(text)
    if not 0 <= share <= 1:
        raise ValueError(f"{column} = {text!r} is not a share between 0 and 1")
    return share


def _number(text: str) -> float:
    try:
        return float(text) if _PLAIN.fullmatch(text) else math.nan
    except ValueError:
        return math.nan


def naturally(text: str) -> list[tuple[float, str]]:
    """A key that sorts d_hidden=4 before d_hidden=16."""
    return [(number_or_last(part), part) for part in re.split(r"([\d.]+)", text)]


def option_values(options: str) -> dict[str, str]:
    """The values in a task's options, such as "c=3 values=16", by name."""
    try:
        words = shlex.split(options)
    except ValueError:  # an open quote
        words = [options]
    return {name: value for name, equals, value in (word.partition("=") for word in words) if equals}


def without_options(options: str, names: Container[str]) -> str:
    """A task's options but for these."""
    return shlex.join(f"{name}={value}" for name, value in option_values(options).items() if name not in names)


def number_or_last(text: str) -> float:
    """A sort key: text that is not a number comes after all numbers."""
    try:
        return float(text)
    except ValueError:
        return float("inf")
