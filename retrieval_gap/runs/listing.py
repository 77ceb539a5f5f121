"""The table of runs: what each is, how far it is, and its results."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cache, lru_cache
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple, get_args

from retrieval_gap.machine.errors import RunError, UsageError
from retrieval_gap.machine.printing import print_safely, reader_may_leave
from retrieval_gap.runs.experiment import TRAINED, Experiment, Row, experiment_class
from retrieval_gap.runs.known import (
    KnownRun,
    furthest,
    gathered_rows,
    known_runs,
    planned_runs,
    print_counts,
    raise_unread,
)
from retrieval_gap.tables.filters import select
from retrieval_gap.tables.printing import Cells, constant, print_constant, print_table
from retrieval_gap.tables.rows import Sourced, make_room_for_table, read_table, save_table
from retrieval_gap.tables.rows import columns_of as columns_of_runs
from retrieval_gap.tables.texts import need_pyarrow
from retrieval_gap.tasks.api import Mode

# Columns shown even if all rows agree, aligned to the left.
ALWAYS = ("task", "mode", "n", "arch", "size", "seed")
MODES = get_args(Mode)


class _ListedRow(NamedTuple):
    """what: the number of first columns that describe the run; the others are its results."""

    place: tuple[str, ...]
    status: str
    what: int
    columns: tuple[str, ...]
    cells: tuple[str, ...]


@reader_may_leave()
def show_results(
    runs_dirs: Sequence[Path],
    cells: Sequence[Experiment] | None = None,
    *,
    tables: Sequence[Path] = (),
    only: str = "",
    csv: Path | None = None,
    parquet: Path | None = None,
) -> None:
    """Print the table of runs and of the rows of other tables; write the finished rows, merged, to `csv`, `parquet`.

    cells: show only these, with those that are missing.  only: a filter of all of them.
    Raises UsageError for an invalid folder or table; RunError, after showing and writing the rest, if a run cannot be
    read.
    """
    for path in filter(None, (csv, parquet)):
        make_room_for_table(path)
    if parquet is not None:
        need_pyarrow()
    found = (known_runs(place) if cells is None else planned_runs(cells, place) for place in runs_dirs)
    known = [each for runs in found for each in runs]
    wanted = None if cells is None else {cell.hash() for cell in cells}
    rows = [source for path in tables for source in read_table(path)]
    rows = [source for source in rows if wanted is None or source.row["config_hash"] in wanted]
    if only:
        everything: list[Sourced | KnownRun] = [*rows, *known]
        chosen = select(everything, only)
        rows, known = [x for x in chosen if isinstance(x, Sourced)], [x for x in chosen if isinstance(x, KnownRun)]
        if not chosen:
            raise UsageError(f"no run or row matches --only {only!r}")
    known = furthest(known)
    troubles = print_runs(known, [source.row for source in rows])
    if tables or csv is not None or parquet is not None:
        sound = [each for each in known if each.run.path not in troubles]
        _write([source.row for source in gathered_rows(sound, rows)], csv, parquet)
    raise_unread(list(troubles.values()))


def _write(rows: Sequence[Row], csv: Path | None, parquet: Path | None) -> None:
    if csv is not None:
        save_table(csv, table_columns(rows), rows)
    if parquet is not None:
        save_table(parquet, table_columns(rows), rows, parquet=True)


def table_columns(rows: Sequence[Row], cells: Sequence[Experiment] = ()) -> list[str]:
    """The columns of these rows, in the order of the one kind of these cells, else of trained runs."""
    kinds = {type(cell) for cell in cells}
    if len(kinds) == 1 and (kind := kinds.pop()).kind != TRAINED:
        return list(dict.fromkeys([*kind.columns, *(column for row in rows for column in row)]))
    return columns_of_runs(rows)


def print_runs(known: Sequence[KnownRun], rows: Sequence[Row] = ()) -> dict[Path, str]:
    """Print one line per row with results and per unfinished run.  Returns the errors of unreadable runs by directory.

    rows: rows of other tables of trained runs; each replaces the unfinished run of its configuration.
    """
    elsewhere = {row["config_hash"]: row for row in rows}
    lines, troubles = list[_ListedRow](), dict[Path, str]()
    for each in known:
        try:
            lines += _lines(each, elsewhere)
        except (RunError, UsageError) as error:
            name = each.run.path.name
            lines.append(_ListedRow(("~",), "unreadable", 1, ("task", "accuracy"), (name, "unreadable")))
            troubles[each.run.path] = str(error)
    lines += _row_lines(elsewhere.values())
    lines.sort(key=lambda line: line.place)
    _print(lines)
    for trouble in troubles.values():
        print_safely(f"unreadable: {trouble}")
    return troubles


def _print(lines: Sequence[_ListedRow]) -> None:
    if not lines:
        print("no runs yet")
        return
    cells = _cells(lines)
    left = {column for what, columns in {(line.what, line.columns) for line in lines} for column in columns[:what]}
    same = constant(cells, {*ALWAYS, *(set(cells.columns) - left)})
    print_table(cells, left=left, without=same)
    print_constant(same)
    print_counts(Counter(line.status for line in lines))


def _lines(each: KnownRun, elsewhere: dict[str, Row]) -> list[_ListedRow]:
    """A run's lines; removes its row from `elsewhere`.  Raises RunError or UsageError if the run cannot be read."""
    experiment = each.experiment
    if experiment is None:
        raise RunError(each.trouble)
    status = each.run.status()
    row = elsewhere.pop(each.run.path.name.rpartition("-")[2], None)
    if status == "done":
        told = [(_words(experiment.listed_values(row)), experiment.shown_values(row)) for row in each.rows()]
        return [_listed(what, status, measured) for what, measured in told if measured]
    if row is not None:
        return _row_lines([row])
    what = _words(experiment.listed_values())
    if status in ("running", "partial"):
        done = experiment.progress(each.run)
        how_far = f"{done.done:,} {done.unit}" if done.done else "started"
        return [_listed(what, status, {experiment.measures[0]: f"{status}, {how_far}"})]
    return [_listed(what, status, {experiment.measures[0]: status})]


def _row_lines(rows: Iterable[Row]) -> list[_ListedRow]:
    """The lines of rows of other tables of trained runs."""
    kind: Any = experiment_class(TRAINED)
    return [_listed(_words(kind.filter_values_of(row)), "done", kind.shown_values_of(row)) for row in rows]


def _listed(what: Mapping[str, str], status: str, told: Mapping[str, str]) -> _ListedRow:
    cells = {**what, **told}
    return _ListedRow(_place(what), status, len(what), _shared(tuple(cells)), tuple(cells.values()))


@cache
def _shared(columns: tuple[str, ...]) -> tuple[str, ...]:
    """The same tuple for all rows with these columns."""
    return columns


def _cells(lines: Sequence[_ListedRow]) -> Cells:
    columns = tuple(dict.fromkeys(chain.from_iterable(dict.fromkeys(line.columns for line in lines))))
    rows = [line.cells if line.columns == columns else _widened(line, columns) for line in lines]
    return Cells(columns, rows)


def _widened(line: _ListedRow, columns: Sequence[str]) -> Sequence[str]:
    held = dict(zip(line.columns, line.cells, strict=True))
    return [held.get(column, "") for column in columns]


def _words(values: Mapping[str, Any]) -> dict[str, str]:
    return {key: value if type(value) is str else _word(value) for key, value in values.items()}


def _word(value: Any) -> str:
    return _number(value) if type(value) in (int, float) else "" if value is None else str(value)


@lru_cache(maxsize=None, typed=True)
def _number(value: float) -> str:
    """A number's text, one string for all rows of a long table."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def _place(what: Mapping[str, str]) -> tuple[str, ...]:
    """The sort key of a line: task, view, size and model; whole numbers in numeric order."""
    mode = what.get("mode", "")
    order = [what.get("task", ""), str(MODES.index(mode)) if mode in MODES else mode]
    order += [what.get(key, "") for key in ALWAYS[2:]]
    order += what.values()
    return tuple(map(_sortable, order))


@cache
def _sortable(value: str) -> str:
    return value.rjust(12) if value.isdigit() else value
