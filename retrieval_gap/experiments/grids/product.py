"""Grids from lists: every combination of the values named, such as `--n 8,16 --arch lstm,my.py --lr 1e-3,3e-3`."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, replace
from typing import Any, get_type_hints

from retrieval_gap.choices import read_number
from retrieval_gap.experiments.trained.config import RunConfig
from retrieval_gap.experiments.trained.defaults import with_defaults
from retrieval_gap.machine.errors import UsageError
from retrieval_gap.tables.values import whole_number
from retrieval_gap.tasks.api import option_grid
from retrieval_gap.tasks.registry import load_task

# The order of fields in a grid, the outermost first.
ORDER = ("task", "seed", "options", "n", "mode", "family", "size", "lr", "arch")
SPLIT = ","


def product_cells(lists: Mapping[str, str], options: str = "", *, paper: bool = False) -> list[RunConfig]:
    """The cells of a grid.  lists: values by field of `RunConfig`, separated by commas; fields that are absent or ""
    are filled in as by `train`.  options: the task's own, as `RunConfig.options`, with lists for numbers.

    Raises UsageError for an invalid value, and if a field without a default is missing.
    """
    values = _values(lists)
    missing = [f.name for f in fields(RunConfig) if f.default is MISSING and f.name not in values]
    if missing:
        flags = ", ".join("--" + name for name in missing)
        raise UsageError(f"a grid needs a preset, a FILE.py with cells(), or flags; missing: {flags}")
    values["options"] = option_grid(load_task(values["task"][0]), options) if options else [""]
    names = sorted(values, key=lambda name: ORDER.index(name) if name in ORDER else -1)
    return [
        with_defaults(dict(zip(names, chosen, strict=True)), paper=paper)
        for chosen in itertools.product(*(values[name] for name in names))
    ]


def replaced_cells(cells: Sequence[RunConfig], lists: Mapping[str, str]) -> list[RunConfig]:
    """The cells of a preset with other values: for each combination of the preset's other fields, every combination of
    these values.  With other architectures, all take the learning rate of the preset's first one.

    Raises UsageError for an invalid value.
    """
    values = _values(lists)
    if not values:
        return list(cells)
    kept: dict[tuple[Any, ...], RunConfig] = {}
    for cell in cells:
        kept.setdefault(_without(cell, values), cell)
    combinations = [dict(zip(values, chosen, strict=True)) for chosen in itertools.product(*values.values())]
    return list(dict.fromkeys(replace(cell, **chosen) for cell in kept.values() for chosen in combinations))


def _without(cell: RunConfig, values: Mapping[str, Any]) -> tuple[Any, ...]:
    """A cell's values without these fields, and without the learning rate if the architecture is one of them."""
    left_out = {*values, *(("lr",) if "arch" in values else ())}
    return tuple(getattr(cell, f.name) for f in fields(cell) if f.name not in left_out)


def _values(lists: Mapping[str, str]) -> dict[str, list[Any]]:
    kinds = get_type_hints(RunConfig)
    return {
        name: [_read(name, word, kinds[name]) for word in text.split(SPLIT)] for name, text in lists.items() if text
    }


def _read(name: str, word: str, kind: Any) -> Any:
    """Raises UsageError, naming the flag."""
    word, flag = word.strip(), "--" + name.replace("_", "-")
    if not word:
        raise UsageError(f"{flag} has an empty value among its list")
    if kind not in (int, float):
        return word
    try:
        return whole_number(flag, word) if kind is int else read_number(word)
    except ValueError:
        wanted = "whole numbers" if kind is int else "numbers"
        raise UsageError(f"{flag} {word} is invalid: expected {wanted}, separated by commas") from None
