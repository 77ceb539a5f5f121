"""Any table of runs as lines: rows that differ only in the seed make a point, points that differ only in x a line.

The answers of a transfer test are pooled, unless they are told apart by panel or colour.  x, panels and colours may
also be a task's own option, such as `values`; of a transfer test, as it was tested.
"""

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from retrieval_gap.about import in_order
from retrieval_gap.machine.errors import UsageError, unknown
from retrieval_gap.statistics.intervals import wilson_interval
from retrieval_gap.tables.identity import IDENTITY, LATER, MEASURED, Identity, identity_of
from retrieval_gap.tables.texts import SWEPT, make_it, read_rows
from retrieval_gap.tables.values import (
    count_in,
    naturally,
    number_in,
    number_or_last,
    option_values,
    share_in,
    without_options,
)

from .seeds import Seeds, by_test, pooled
from .style import VIEWS, name_of, size_name

X_COLUMNS = {
    "n": "problem size n",
    "tested_n": "problem size tested",
    "size": "model size",
    "parameters": "trained parameters",
    "state_bits": "bits of state",
    "samples": "training samples",
    "lr": "learning rate",
    "seed": "seed",
}
# The shares that a figure can show, with their names on the axis.
Y_COLUMNS = {
    "accuracy": "accuracy",
    "accuracy_strict": "accuracy, undecided answers wrong",
    "exact_trace": "exact traces",
    "undecided": "undecided answers",
}
# Columns that follow from x, and therefore make no lines of their own.
_FOLLOWS = {
    "n": ("samples", "batch_size", "warmup_samples"),
    "tested_n": ("samples", "batch_size", "warmup_samples", "tested_options"),
    "parameters": ("size",),
    "state_bits": ("size",),
    "samples": ("warmup_samples",),
}
_MADE_BY = dict.fromkeys(MEASURED, "transfer RUN_DIR... --csv FILE") | {"rounding": "probe RUN_DIR... --csv FILE"}
_TRAINING = (
    "embedding", "samples", "batch_size", "lr", "warmup_samples", "max_grad_norm", "precision", "curriculum",
    "eval_split",
)  # fmt: skip
_NEEDED = ("task", "mode", "n", "arch", "size", "seed", "accuracy", "accuracy_low", "accuracy_high")


@dataclass(frozen=True, kw_only=True)
class SeriesView:
    """What an accuracy figure shows: the columns for x, for y, for panels (besides the task), and for colours.  Other
    names than those of columns are options of the task, and a table decides whether there are any."""

    x: str = "n"
    y: str = "accuracy"
    panel: str = "mode"
    color: str = "arch"

    def __post_init__(self) -> None:
        if self.x in _COLUMNS and self.x not in X_COLUMNS:
            raise unknown("--x", self.x, X_COLUMNS)
        if self.y not in Y_COLUMNS:
            raise unknown("--y", self.y, Y_COLUMNS)
        for flag, column in (("--panel", self.panel), ("--color", self.color)):
            if column in X_COLUMNS and column not in _COLUMNS:
                raise unknown(flag, column, _COLUMNS)
            if column == self.x:
                raise UsageError(f"{flag} {column} is the x axis already")

    @property
    def options(self) -> dict[str, str]:
        """The chosen options of the task, by the flag that names them."""
        chosen = {"--x": self.x, "--panel": self.panel, "--color": self.color}
        return {flag: name for flag, name in chosen.items() if name not in (*X_COLUMNS, *_COLUMNS)}


_COLUMNS = (*IDENTITY, *MEASURED)
_PROBLEM = ("task", "family", "options", "tested_on")  # each value has its own panel
_LineKey = tuple[tuple[str, ...], str, str]  # of a line: panel, color, label


class PlottedRow(NamedTuple):
    """A row, or a test's rows as one: columns as text, x as a number, the view's share with its 95 % Wilson interval as
    `accuracy`, `low` and `high`.  Chosen options are columns of their own; `identity` has all options together."""

    row: Mapping[str, str]
    x: float
    accuracy: float
    low: float
    high: float
    identity: Identity

    @property
    def eval_samples(self) -> int:
        return count_in(self.identity.where, self.row, "eval_samples")


@dataclass(frozen=True)
class SeedMean(Seeds[PlottedRow]):
    """The seeds of one configuration: their mean, and the envelope of their intervals."""

    @property
    def x(self) -> float:
        return self.runs[0].x


@dataclass(frozen=True, kw_only=True)
class Line:
    """Points by rising x.  panel, color: their values; label: its other differences from other lines."""

    panel: tuple[str, ...]
    color: str
    label: str
    points: list[SeedMean]


@dataclass(frozen=True, kw_only=True)
class Series:
    """A table's lines in a view.

    panel_columns: those whose values are a panel's key.  ticks: the names of x if it is not a number.  left_out: for a
    caption.
    """

    path: Path
    view: SeriesView
    lines: list[Line]
    panel_columns: list[str]
    ticks: list[str]
    left_out: list[str]

    @property
    def panels(self) -> list[tuple[str, ...]]:
        """By task, then by the view's column."""
        order = list(VIEWS)
        seen = {line.panel for line in self.lines}
        place = {key: order.index(key[-1]) if key[-1] in order else number_or_last(key[-1]) for key in seen}
        return sorted(seen, key=lambda key: (key[:-1], place[key], key))

    @property
    def colors(self) -> list[str]:
        seen = {line.color for line in self.lines}
        return (
            in_order(seen)
            if self.view.color == "arch"
            else sorted(seen, key=lambda value: (number_or_last(value), value))
        )

    @property
    def labels(self) -> list[str]:
        return sorted({line.label for line in self.lines}, key=naturally)

    @property
    def differing(self) -> dict[str, list[str]]:
        """Settings of training that differ between rows, with their values, for a caption."""
        rows = [run.row for line in self.lines for point in line.points for run in point.runs]
        values = {column: {row[column] for row in rows} for column in _TRAINING if column in rows[0]}
        return {c: sorted(v, key=naturally) for c, v in values.items() if len(v) > 1 and c != self.view.x}


def x_name(column: str) -> str:
    """The name of an x axis."""
    return X_COLUMNS.get(column, column.replace("_", " "))


def read_series(path: Path, view: SeriesView) -> Series:
    """Raises UsageError for a table that is invalid, has no row, or has two rows of one configuration and seed, and for
    an option that no task of the table has."""
    chosen = [column for column in (view.x, view.panel, view.color) if column not in view.options.values()]
    chosen += ["options"] if view.options else []
    made_by = next((_MADE_BY[column] for column in chosen if column in _MADE_BY), SWEPT)
    shares = () if view.y == "accuracy" else (view.y, "eval_samples")
    where_rows = read_rows(path, dict.fromkeys((*_NEEDED, *chosen, *shares)), made_by)
    if not where_rows:
        raise UsageError(f"results table {path} is empty: no run has finished; {make_it(made_by)}")
    _check_options(view, [row for _, row in where_rows])
    every = [(identity_of(where, row), _with_options(row, view.options.values())) for where, row in where_rows]
    told = [(identity, row) for identity, row in every if row[view.x]]
    ticks = _ticks(view, [row for _, row in told])
    measured = _pooled([_measured(identity, row, view, ticks) for identity, row in told], view)
    missing = len(where_rows) - len(told)
    if not measured:
        raise UsageError(f"results table {path} has no value of {view.x}, so there is nothing to draw")
    panel = [column for column in _PROBLEM if column in measured[0].row]
    panel += [view.panel] if view.panel not in panel else []
    return Series(
        path=path,
        view=view,
        lines=_lines(measured, view, panel),
        panel_columns=panel,
        ticks=ticks,
        left_out=[f"{missing} rows without {view.x}"] if missing else [],
    )


def tested_options(row: Mapping[str, str]) -> str:
    """The options that a row was measured with."""
    return row.get("tested_options", row.get("options", ""))


def _check_options(view: SeriesView, rows: Sequence[Mapping[str, str]]) -> None:
    """Raise UsageError for a chosen option that no row has."""
    if view.options:
        known = {option: None for row in rows for option in option_values(tested_options(row))}
        for flag, name in view.options.items():
            if name not in known:
                raise unknown(flag, name, [*(X_COLUMNS if flag == "--x" else _COLUMNS), *known])


def _with_options(row: Mapping[str, str], chosen: Collection[str]) -> Mapping[str, str]:
    """A row with a column for each chosen option, which the column of all options is without."""
    if not chosen:
        return row
    options, column = tested_options(row), "tested_options" if "tested_options" in row else "options"
    values = option_values(options)
    return {**row, column: without_options(options, chosen), **{name: values.get(name, "") for name in chosen}}


def _ticks(view: SeriesView, rows: Sequence[Mapping[str, str]]) -> list[str]:
    """The values of x in order, if they are no numbers."""
    if view.x == "size":
        return _size_order(rows)
    values = {row[view.x] for row in rows} if "--x" in view.options else set()
    return sorted(values, key=naturally) if any(number_or_last(value) == math.inf for value in values) else []


def _measured(identity: Identity, row: Mapping[str, str], view: SeriesView, ticks: list[str]) -> PlottedRow:
    where = identity.where
    place = float(ticks.index(row[view.x])) if ticks else number_in(where, row, view.x)
    share = share_in(where, row, view.y)
    if view.y == "accuracy":
        low, high = (share_in(where, row, key) for key in ("accuracy_low", "accuracy_high"))
    else:
        low, high = wilson_interval(share, count_in(where, row, "eval_samples"))
    return PlottedRow(row, place, share, low, high, identity)


def _pooled(measured: list[PlottedRow], view: SeriesView) -> list[PlottedRow]:
    """The rows, those of a test's answers as one.  Raises UsageError if a test has two rows of one answer."""
    if "answer" not in measured[0].row or "answer" in (view.panel, view.color):
        return measured
    return [_one_test(parts) for parts in by_test(measured)]


def _one_test(parts: list[PlottedRow]) -> PlottedRow:
    test = pooled(parts)
    row = {**parts[0].row, "answer": "", "eval_samples": str(test["eval_samples"])}
    return PlottedRow(row, parts[0].x, test["accuracy"], test["low"], test["high"], test["identity"])


def _size_order(rows: Iterable[Mapping[str, str]]) -> list[str]:
    """Sizes, ordered by their smallest number of parameters."""
    least: dict[str, float] = {}
    for row in rows:
        parameters = number_or_last(row.get("parameters", ""))
        least[row["size"]] = min(parameters, least.get(row["size"], parameters))
    return sorted(least, key=lambda size: (least[size], size))


def _lines(measured: Sequence[PlottedRow], view: SeriesView, panel: Sequence[str]) -> list[Line]:
    follows = _followers(measured, view, panel)
    hidden = {view.x, view.color, *panel, *follows}
    rest = [column for column in (*IDENTITY, *MEASURED) if column in measured[0].row and column not in hidden]
    varied = _varied(measured, view.color, rest)
    lines: dict[_LineKey, dict[str, list[PlottedRow]]] = defaultdict(lambda: defaultdict(list))
    for each in measured:
        color = each.row[view.color]
        key = (tuple(each.row[column] for column in panel), color, _label(each.row, varied[color]))
        lines[key][each.row[view.x]].append(each)
    return [
        Line(panel=of, color=color, label=label, points=sorted(_means(points), key=lambda point: point.x))
        for (of, color, label), points in sorted(lines.items())
    ]


def _followers(measured: Sequence[PlottedRow], view: SeriesView, panel: Sequence[str]) -> list[str]:
    """The columns that follow from x here: no line has two of their values at one x."""
    found = []
    for column in _FOLLOWS.get(view.x, ()):
        values: dict[tuple[str, ...], set[str]] = defaultdict(set)
        for row in (each.row for each in measured if each.row.get(column)):
            values[row[view.x], row[view.color], *(row[key] for key in panel)].add(row[column])
        if column in measured[0].row and all(len(some) == 1 for some in values.values()):
            found.append(column)
    return found


def _varied(measured: Sequence[PlottedRow], color: str, columns: Sequence[str]) -> dict[str, list[str]]:
    """For each colour the columns in which its own rows differ: only these distinguish its lines."""
    seen: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for each in measured:
        for column in columns:
            if each.row[column] or column not in LATER:
                seen[each.row[color]][column].add(each.row[column])
    return {value: [column for column in columns if len(found[column]) > 1] for value, found in seen.items()}


def _means(points: Mapping[str, list[PlottedRow]]) -> list[SeedMean]:
    return [SeedMean(tuple(sorted(runs, key=lambda run: run.row["seed"]))) for runs in points.values()]


def _label(row: Mapping[str, str], varied: Sequence[str]) -> str:
    """Such as `tiny, lr 0.003`: how a line differs from others of its colour."""
    words = [_changed(row) if column == "tested_options" else name_in(column, row[column]) for column in varied]
    return ", ".join(filter(None, words))


def _changed(row: Mapping[str, str]) -> str:
    """Such as `tested with order=last`: the options of a test that are not those of training."""
    trained = row.get("options", "").split()
    changes = [word for word in row["tested_options"].split() if word not in trained]
    return f"tested with {' '.join(changes).replace('_', ' ')}" if changes else ""


def name_in(column: str, value: str) -> str:
    """How a legend writes a value of a column."""
    match column:
        case "arch":
            return name_of(value)
        case "mode":
            return VIEWS.get(value, value)
        case "size":
            return size_name(value)
        case "task" | "family" | "options" | "embedding" | "precision" | "eval_split" | "tested_options":
            return value.replace("_", " ")
        case "tested_on" if value:
            return f"tested on {value.replace('_', ' ')}"
        case "tested_n" if value.isdecimal():
            return f"tested at n = {int(value):,}"
        case "answer":
            return value or "open answers"
        case "samples" | "n" if value.isdecimal():
            return f"{column} = {int(value):,}" if column == "n" else f"{int(value):,} samples"
    return f"{column} {value}" if value else ""
