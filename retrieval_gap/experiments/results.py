"""Result tables: rows of finished runs, as CSV and on the terminal."""

import csv
import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from retrieval_gap.errors import RunError, UsageError
from retrieval_gap.experiments.config import RunConfig
from retrieval_gap.experiments.run import RunDirectory, Status
from retrieval_gap.files import make_room_for, write_text

# The contract of results/*.csv: what `run.result_row` gives, in this order.
COLUMNS = (
    "task", "family", "mode", "n", "options", "arch", "size", "embedding", "parameters", "state_bits",
    "samples", "batch_size", "lr", "precision", "seed", "eval_split",
    "accuracy", "accuracy_low", "accuracy_high", "accuracy_strict", "exact_trace", "undecided", "eval_samples",
    "tokens_per_s", "wall_s", "threads", "hardware", "torch", "commit", "config_hash",
)  # fmt: skip
MODES = ("direct", "cot", "rag")

Row = dict[str, Any]


@dataclass(frozen=True)
class Cell:
    """A line of a table: a run's directory, and its configuration or why that cannot be read."""

    run: RunDirectory
    config: RunConfig | None
    trouble: str = ""


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """Replaces a results table.  Raises UsageError where it cannot be written."""
    write_table(path, COLUMNS, rows)


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Row]) -> None:
    """Replaces a CSV file by these columns of the rows.  Raises UsageError where it cannot be written."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, text.getvalue())
    except OSError as error:
        raise UsageError(f"results table {path} cannot be written: {error.strerror}") from error


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


def show_results(runs_dir: Path, preset: str, path: Path | None) -> None:
    """Prints the table of runs; with `path`, writes the finished rows there."""
    from retrieval_gap.experiments.presets import preset_cells

    if path is not None:
        make_room_for(path)
    cells = cells_of(preset_cells(preset), runs_dir) if preset else known_cells(runs_dir)
    print_table(cells)
    if path is not None:
        rows = finished_rows(cells)
        write_rows(path, rows)
        print(f"{len(rows)} rows written to {path}")


def print_table(cells: Sequence[Cell]) -> None:
    """One line a cell; a cell that is not done says so instead of numbers, one that cannot be read says why."""
    table = Table(box=None, pad_edge=False)
    for column in ("task", "view", "n", "model", "seed", "samples", "lr"):
        table.add_column(column)
    for column in ("accuracy", "95 %", "strict", "exact", "undecided", "tok/s", "min"):
        table.add_column(column, justify="right")
    counts, troubles = Counter[str](), []
    for cell in sorted(cells, key=_place):
        try:
            status, line = _line(cell)
        except RunError as error:
            status, line = "unreadable", [cell.run.path.name, *[""] * 6, "unreadable"]
            troubles.append(str(error))
        counts[status] += 1
        table.add_row(*map(escape, line))
    print_wide(table)
    print_counts(counts)
    for trouble in troubles:
        print(f"unreadable: {trouble}")


def print_wide(table: Table) -> None:
    """Prints a table as wide as the terminal, or as a file can take."""
    console = Console()
    (console if console.is_terminal else Console(width=160)).print(table)


def print_counts(counts: Mapping[str, int]) -> None:
    """How many cells are of which status."""
    print(", ".join(f"{counts[s]} {s}" for s in (*get_args(Status), "unreadable") if s in counts))


def _place(cell: Cell) -> tuple[Any, ...]:
    """Where a cell stands in a table: by task, view, size and model, and last what cannot be read."""
    c = cell.config
    return (1,) if c is None else (0, c.task, MODES.index(c.mode), c.n, c.arch, c.size, c.seed)


def _line(cell: Cell) -> tuple[str, list[str]]:
    """A cell's status and its line of the table.  Raises RunError where they cannot be read."""
    config = cell.config
    if config is None:
        raise RunError(cell.trouble)
    status = cell.run.status()
    line = [config.task, config.mode, str(config.n), f"{config.arch} {config.size}", str(config.seed)]
    line += [f"{config.samples:,}", f"{config.training().lr:g}"]
    if status == "done":
        return status, line + _measured(cell.run.row())
    if status in ("running", "partial"):
        return status, [*line, f"{status}, {progress_of(cell.run)}"]
    return status, [*line, status]


def _measured(row: Row) -> list[str]:
    return [
        f"{row['accuracy']:.3f}",
        f"{row['accuracy_low']:.3f}-{row['accuracy_high']:.3f}",
        *(f"{row[key]:.3f}" for key in ("accuracy_strict", "exact_trace", "undecided")),
        f"{row['tokens_per_s']:,.0f}",
        f"{row['wall_s'] / 60:.1f}",
    ]


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
