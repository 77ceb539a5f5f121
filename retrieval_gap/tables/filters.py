"""Filters of cells and of rows, such as 'n=8 arch=mamba,lstm mode=cot', also by a task's own options: 'values=4'."""

from collections.abc import Mapping
from typing import Any

from retrieval_gap.machine.errors import unknown
from retrieval_gap.tables.values import option_values


def matches(values: Mapping[str, Any], only: str) -> bool:
    """Whether a cell's values match every `key=value[,value]` of a filter.  A key may be one of its task's options.

    Raises UsageError for a key that is unknown where the conditions before it match: tasks differ in their options.
    """
    known = {**option_values(str(values.get("options") or "")), **values}
    for key, _, wanted in (condition.partition("=") for condition in only.split()):
        if key not in known:
            raise unknown("filter key", key, known)
        if not any(_is(known[key], word) for word in wanted.split(",")):
            return False
    return True


def _is(value: Any, word: str) -> bool:
    """Compares numbers in any spelling: 1e-3 is 0.001."""
    try:
        return str(value) == word or bool(float(value) == float(word))
    except (TypeError, ValueError):
        return False
