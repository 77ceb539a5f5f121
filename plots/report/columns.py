"""The table of a page: its columns and the filters above it."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from retrieval_gap.tables.rows import Row

from ..style import VIEWS, name_of
from .sources import Entry, problem_of, variant_of

# column, and its name on the page; the first four are always shown
FILTERS = {"task": "task", "mode": "view", "arch": "architecture", "n": "n", "size": "size", "eval_split": "split"}
_ALWAYS = tuple(FILTERS)[:4]
_MODES = tuple(VIEWS)


class Filter(NamedTuple):
    column: str
    name: str
    options: list[tuple[Any, str]]
    chosen: Any


class Value(NamedTuple):
    """A field: its sort key, and its text; `note` follows it, smaller."""

    sort: Any
    text: str
    note: str = ""


FIRST = 6  # columns that identify a row and its accuracy: a narrow screen shows only these by default
# heading, and whether it is a number
COLUMNS = (
    ("task", False), ("view", False), ("n", True), ("architecture", False), ("size", False), ("accuracy", True),
    ("seed", True), ("strict", True), ("exact trace", True), ("undecided", True), ("trained on", True),
    ("parameters", True), ("state bits", True), ("tokens/s", True), ("minutes", True), ("hardware", False),
)  # fmt: skip


def filters_of(rows: Sequence[Row]) -> list[Filter]:
    """Filters by the columns that distinguish rows; the test split is preselected if there are others too."""
    filters = []
    for column, name in FILTERS.items():
        values = sorted({row[column] for row in rows}, key=lambda value: _order(column, value))
        if column in _ALWAYS or len(values) > 1:
            chosen = "test" if column == "eval_split" and "test" in values else ""
            filters.append(Filter(column, name, [(value, _name(column, value)) for value in values], chosen))
    return filters


def table_rows(entries: Sequence[Entry]) -> list[list[Value]]:
    return [_fields(entry.row) for entry in entries]


def _fields(row: Row) -> list[Value]:
    return [
        Value(problem_of(row), row["task"], variant_of(row)),
        Value(_order("mode", row["mode"]), _name("mode", row["mode"])),
        _number(row["n"], "d"),
        Value(row["arch"], name_of(row["arch"])),
        Value(row["parameters"] or 0, row["size"]),
        Value(row["accuracy"], f"{row['accuracy']:.3f}", f"{row['accuracy_low']:.3f}–{row['accuracy_high']:.3f}"),
        _number(row["seed"], "d"),
        *(_number(row[column], ".3f") for column in ("accuracy_strict", "exact_trace", "undecided")),
        *(_number(row[column], ",d") for column in ("samples", "parameters", "state_bits")),
        _number(row["tokens_per_s"], ",.0f"),
        _number(None if row["wall_s"] is None else row["wall_s"] / 60, ".1f"),
        Value(row["hardware"], row["hardware"]),
    ]


def _number(value: float | None, form: str) -> Value:
    return Value("", "") if value is None else Value(value, format(value, form))


def _order(column: str, value: Any) -> Any:
    if column == "mode":
        return _MODES.index(value) if value in _MODES else len(_MODES)
    return value


def _name(column: str, value: Any) -> str:
    if column == "mode":
        return str(VIEWS.get(value, value))
    return name_of(value) if column == "arch" else str(value)
