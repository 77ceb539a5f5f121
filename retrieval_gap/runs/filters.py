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
    return all(str(values[key]) in wanted.split(",") for key, _, wanted in conditions)
