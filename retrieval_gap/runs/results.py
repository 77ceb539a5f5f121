"""Folders of runs, and tables of others: what is done, running, partial, failed or missing, and the finished rows."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple, get_args

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from retrieval_gap.experiments.trained.config import RunConfig
from retrieval_gap.machine.errors import RunError, UsageError
from retrieval_gap.machine.files import make_room_for
from retrieval_gap.runs.directory import RunDirectory, Status
from retrieval_gap.tables.rows import (
    Row,
    Sourced,
    merge,
    need_pyarrow,
    read_table,
    write_parquet,
    write_rows,
)

MODES = ("direct", "cot", "rag")


@dataclass(frozen=True)
class Cell:
    """A line of a table: a run's directory, and its configuration or why that cannot be read."""

    run: RunDirectory
    config: RunConfig | None
    trouble: str = ""


def cells_of(configs: Iterable[RunConfig], runs_dir: Path) -> list[Cell]:
    """The cells of these configurations, in their order, whether there is a directory yet or not.

    Raises UsageError where `runs_dir` is a file.
    """
    if runs_dir.exists() and not runs_dir.is_dir():
        raise UsageError(f"{runs_dir} is no folder of runs")
    return [Cell(RunDirectory.of(config, runs_dir), config) for config in configs]


def known_cells(runs_dir: Path) -> list[Cell]:
    """The cells of all run directories below `runs_dir`, by name.

    They are what is found there: a user's file that is of a run's hash may have changed since, or gone.
    """
    if not runs_dir.is_dir():
        raise UsageError(f"{runs_dir} is no folder of runs; `retrieval-gap train` or `sweep` makes one")
    return [_known_cell(RunDirectory(path.parent)) for path in sorted(runs_dir.glob("*/config.json"))]


def _known_cell(run: RunDirectory) -> Cell:
    try:
        config = run.config()
    except (UsageError, RunError) as error:
        return Cell(run, None, str(error))
    return Cell(run, config)


def finished_rows(cells: Iterable[Cell]) -> list[Row]:
    """The rows of those runs that are done, in this order.  Raises RunError for a result that cannot be read."""
    return [cell.run.row() for cell in cells if cell.run.status() == "done"]


def gathered_rows(cells: Iterable[Cell], tables: Iterable[Path]) -> list[Sourced]:
    """The rows of runs that are done and of tables, merged.

    Raises RunError for a result and UsageError for a table that cannot be read, and for two rows of one configuration
    that contradict each other.
    """
    done = (cell.run for cell in cells if cell.run.status() == "done")
    ours = (Sourced(str(run.result), run.row()) for run in done)
    return merge(chain(ours, (row for path in tables for row in read_table(path))))


def show_results(
    runs_dirs: Sequence[Path],
    preset: str = "",
    *,
    tables: Sequence[Path] = (),
    csv: Path | None = None,
    parquet: Path | None = None,
) -> None:
    """Prints the table of runs and of the rows of other tables; writes the finished rows, merged, where told."""
    from retrieval_gap.experiments.grids import preset_cells

    for path in filter(None, (csv, parquet)):
        make_room_for(path)
    if parquet is not None:
        need_pyarrow()
    configs = preset_cells(preset) if preset else []
    cells = [cell for place in runs_dirs for cell in (cells_of(configs, place) if preset else known_cells(place))]
    rows = [source.row for path in tables for source in read_table(path)]
    wanted = {config.hash() for config in configs}
    print_table(furthest(cells), [row for row in rows if not preset or row["config_hash"] in wanted])
    if not tables and csv is None and parquet is None:
        return
    merged = [source.row for source in gathered_rows(cells, tables)]
    merged = [row for row in merged if not preset or row["config_hash"] in wanted]
    for target, write in ((csv, write_rows), (parquet, write_parquet)):
        if target is not None:
            write(target, merged)
            print(f"{len(merged)} rows written to {target}")


def furthest(cells: Iterable[Cell]) -> list[Cell]:
    """Of the cells that are one run's directories in several folders the one that is furthest."""
    best: dict[str, Cell] = {}
    for cell in cells:
        other = best.setdefault(cell.run.path.name, cell)
        if other is not cell and _rank(cell) < _rank(other):
            best[cell.run.path.name] = cell
    return list(best.values())


def _rank(cell: Cell) -> int:
    return get_args(Status).index(cell.run.status())


class _Line(NamedTuple):
    place: tuple[Any, ...]  # where it stands in a table: by task, view, size and model, and last what cannot be read
    status: str
    words: list[str]


def print_table(cells: Sequence[Cell], rows: Sequence[Row] = ()) -> None:
    """One line a cell; a cell that is not done says so instead of numbers, one that cannot be read says why.

    rows: of other tables; each stands for the cell of its configuration that is not done here.
    """
    table = Table(box=None, pad_edge=False)
    for column in ("task", "view", "n", "model", "seed", "samples", "lr"):
        table.add_column(column)
    for column in ("accuracy", "95 %", "strict", "exact", "undecided", "tok/s", "min"):
        table.add_column(column, justify="right")
    elsewhere = {row["config_hash"]: row for row in rows}
    lines, troubles = list[_Line](), []
    for cell in cells:
        try:
            lines.append(_line(cell, elsewhere))
        except RunError as error:
            lines.append(_Line((1,), "unreadable", [cell.run.path.name, *[""] * 6, "unreadable"]))
            troubles.append(str(error))
    lines += [_row_line(row) for row in elsewhere.values()]
    for line in sorted(lines, key=lambda line: line.place):
        table.add_row(*map(escape, line.words))
    print_wide(table)
    print_counts(Counter(line.status for line in lines))
    for trouble in troubles:
        print(f"unreadable: {trouble}")


def print_wide(table: Table) -> None:
    """Prints a table as wide as the terminal, or as a file can take."""
    console = Console()
    (console if console.is_terminal else Console(width=160)).print(table)


def print_counts(counts: Mapping[str, int]) -> None:
    """How many cells are of which status."""
    print(", ".join(f"{counts[s]} {s}" for s in (*get_args(Status), "unreadable") if s in counts))


def _line(cell: Cell, elsewhere: dict[str, Row]) -> _Line:
    """A cell's line of the table, its row taken out of `elsewhere`.  Raises RunError where it cannot be read."""
    config = cell.config
    if config is None:
        raise RunError(cell.trouble)
    status = cell.run.status()
    row = elsewhere.pop(cell.run.path.name.rpartition("-")[2], None)
    place = _place(config.task, config.mode, config.n, config.arch, config.size, config.seed)
    words = [config.task, config.mode, str(config.n), f"{config.arch} {config.size}", str(config.seed)]
    words += [f"{config.samples:,}", f"{config.training().lr:g}"]
    if status == "done":
        return _Line(place, status, words + _measured(cell.run.row()))
    if row is not None:
        return _row_line(row)
    if status in ("running", "partial"):
        return _Line(place, status, [*words, f"{status}, {progress_of(cell.run)}"])
    return _Line(place, status, [*words, status])


def _row_line(row: Row) -> _Line:
    words = [row["task"], row["mode"], str(row["n"]), f"{row['arch']} {row['size']}", str(row["seed"])]
    words += [_number(row["samples"], ",d"), _number(row["lr"], "g")]
    place = _place(*(row[key] for key in ("task", "mode", "n", "arch", "size", "seed")))
    return _Line(place, "done", words + _measured(row))


def _place(task: str, mode: str, n: int, arch: str, size: str, seed: int) -> tuple[Any, ...]:
    return 0, task, MODES.index(mode) if mode in MODES else len(MODES), mode, n, arch, size, seed


def _measured(row: Row) -> list[str]:
    minutes = None if row["wall_s"] is None else row["wall_s"] / 60
    return [
        f"{row['accuracy']:.3f}",
        f"{row['accuracy_low']:.3f}-{row['accuracy_high']:.3f}",
        *(_number(row[key], ".3f") for key in ("accuracy_strict", "exact_trace", "undecided")),
        _number(row["tokens_per_s"], ",.0f"),
        _number(minutes, ".1f"),
    ]


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def samples_done(run: RunDirectory, config: RunConfig) -> int:
    """How many samples a run was trained on, from its last report; all of them where it is done."""
    if run.result.exists():
        return config.samples
    reports = run.reports()
    return int(reports[-1]["samples"]) if reports else 0


def progress_of(run: RunDirectory) -> str:
    """How far a run is, from its last report."""
    reports = run.reports()
    return f"{reports[-1]['samples']:,} samples" if reports else "started"
