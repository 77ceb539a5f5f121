"""Result tables: rows of finished runs, as CSV and on the terminal."""

import csv
import io
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from retrieval_gap.errors import UsageError
from retrieval_gap.experiments.config import RunConfig
from retrieval_gap.experiments.run import RunDirectory, Status, read_json
from retrieval_gap.files import write_text

# The contract of results/*.csv: what `run.result_row` gives, in this order.
COLUMNS = (
    "task", "family", "mode", "n", "arch", "size", "embedding", "parameters", "state_bits",
    "samples", "batch_size", "lr", "seed", "eval_split",
    "accuracy", "accuracy_low", "accuracy_high", "accuracy_strict", "exact_trace", "undecided", "eval_samples",
    "tokens_per_s", "wall_s", "threads", "hardware", "torch", "commit", "config_hash",
)  # fmt: skip
MODES = ("direct", "cot", "rag")

Row = dict[str, Any]


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """Replaces a results table.  Raises UsageError where it cannot be written."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, text.getvalue())
    except OSError as error:
        raise UsageError(f"results table {path} cannot be written: {error.strerror}") from error


def finished_rows(configs: Iterable[RunConfig], runs_dir: Path) -> list[Row]:
    """The rows of those runs that are done, in the order of the configurations."""
    runs = [RunDirectory.of(config, runs_dir) for config in configs]
    return [read_json(run.result) for run in runs if run.status() == "done"]


def known_runs(runs_dir: Path) -> list[RunConfig]:
    """The configurations of all run directories below `runs_dir`, by name."""
    if not runs_dir.is_dir():
        raise UsageError(f"{runs_dir} is no folder of runs; `retrieval-gap train` or `sweep` makes one")
    return [RunDirectory(path.parent).config() for path in sorted(runs_dir.glob("*/config.json"))]


def statuses(configs: Sequence[RunConfig], runs_dir: Path) -> list[Status]:
    return [RunDirectory.of(config, runs_dir).status() for config in configs]


def show_results(runs_dir: Path, preset: str, path: Path | None) -> None:
    """Prints the table of runs; with `path`, writes the finished rows there."""
    from retrieval_gap.experiments.presets import preset_cells

    configs = preset_cells(preset) if preset else known_runs(runs_dir)
    print_table(configs, runs_dir)
    if path is not None:
        rows = finished_rows(configs, runs_dir)
        write_rows(path, rows)
        print(f"{len(rows)} rows written to {path}")


def print_table(configs: Sequence[RunConfig], runs_dir: Path) -> None:
    """One line a cell; a cell that is not done says so instead of numbers."""
    table = Table(box=None, pad_edge=False)
    for column in ("task", "view", "n", "model", "seed", "samples", "lr"):
        table.add_column(column)
    for column in ("accuracy", "95 %", "strict", "exact", "undecided", "tok/s", "min"):
        table.add_column(column, justify="right")
    for config in sorted(configs, key=lambda c: (c.task, MODES.index(c.mode), c.n, c.arch, c.size, c.seed)):
        run = RunDirectory.of(config, runs_dir)
        cell = (config.task, config.mode, str(config.n), f"{config.arch} {config.size}", str(config.seed))
        table.add_row(*cell, f"{config.samples:,}", f"{config.training().lr:g}", *_measured(run))
    width = None if (console := Console()).is_terminal else 160
    (console if width is None else Console(width=width)).print(table)
    counts = Counter(statuses(configs, runs_dir))
    print(", ".join(f"{counts[s]} {s}" for s in ("done", "partial", "failed", "missing") if counts[s]))


def _measured(run: RunDirectory) -> list[str]:
    status = run.status()
    if status != "done":
        return [progress_of(run) if status == "partial" else status]
    row = read_json(run.result)
    shares = [f"{row[key]:.3f}" for key in ("accuracy_strict", "exact_trace", "undecided")]
    interval = f"{row['accuracy_low']:.3f}-{row['accuracy_high']:.3f}"
    return [
        f"{row['accuracy']:.3f}",
        interval,
        *shares,
        f"{row['tokens_per_s']:,.0f}",
        f"{row['wall_s'] / 60:.1f}",
    ]


def progress_of(run: RunDirectory) -> str:
    """How far a partial run is, from its last report."""
    lines = run.metrics.read_text().splitlines() if run.metrics.exists() else []
    if not lines:
        return "started"
    try:
        return f"{json.loads(lines[-1])['samples']:,} samples"
    except (json.JSONDecodeError, KeyError):
        return "started"
