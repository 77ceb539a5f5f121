"""Filters of cells and of rows, such as 'n=8 arch=mamba,lstm mode=cot'."""

from collections.abc import Mapping
from typing import Any

from retrieval_gap.machine.errors import unknown


def matches(values: Mapping[str, Any], only: str) -> bool:
    """Whether a cell's values match every `key=value[,value]` of a filter.  Raises UsageError for an unknown key."""
    conditions = [condition.partition("=") for condition in only.split()]
    for key, _, _ in conditions:
        if key not in values:
            raise unknown("filter key", key, values)
    return all(any(_is(values[key], word) for word in wanted.split(",")) for key, _, wanted in conditions)


def _is(value: Any, word: str) -> bool:
    """Compares numbers in any spelling: 1e-3 is 0.001."""
    if type(value) not in (int, float):
        return str(value) == word
    try:
        return bool(value == float(word))
    except ValueError:
        return False
