"""A page's data: rows of runs and tables, and what run directories keep besides their rows."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from retrieval_gap.machine.errors import RunError, UsageError
from retrieval_gap.runs.directory import RunDirectory
from retrieval_gap.runs.experiment import TRAINED
from retrieval_gap.runs.known import known_runs
from retrieval_gap.tables.rows import RESULTS, Row, Sourced, completed, merge, read_table

from ..style import VIEWS
from .memories import shown_memories
from .samples import Shown, shown_samples

CURVE_POINTS = 50  # of each run; the page stays small
SAMPLE_CHARACTERS = 1_500_000  # of all samples together


@dataclass(frozen=True)
class Entry:
    """A row, where it comes from, and its run's directory if there is one."""

    where: str
    row: Row
    run: RunDirectory | None

    @property
    def label(self) -> str:
        row = self.row
        view = VIEWS.get(row["mode"], row["mode"])
        return f"{problem_of(row)}, {view}, n {row['n']}, {row['arch']} {row['size']}, seed {row['seed']}"


@dataclass(kw_only=True)
class Gathered:
    """Curves, samples and environments are by the number of their entry.  memories: of memory runs, which have none.

    learned: validation accuracies by the samples trained on, if a run measured them during training.
    sources: what was read, with the number of rows.  tables: the files among them, for figures.
    """

    entries: list[Entry]
    sources: list[tuple[str, int]]
    tables: list[Path]
    own_tables: bool  # whether figures may also be drawn from their own tables in results/
    notes: list[str] = field(default_factory=list)
    curves: dict[int, list[tuple[int, float]]] = field(default_factory=dict)
    learned: dict[int, list[tuple[int, float]]] = field(default_factory=dict)
    samples: dict[int, list[Shown]] = field(default_factory=dict)
    environments: dict[int, dict[str, Any]] = field(default_factory=dict)
    memories: list[Shown] = field(default_factory=list)

    def summary(self) -> list[tuple[int, str]]:
        """The counts for the head of the page."""
        values = {column: {entry.row[column] for entry in self.entries} for column in ("task", "arch", "hardware")}
        counts = {
            "trained model": len(self.entries),
            "task": len(values["task"]),
            "architecture": len(values["arch"]),
            "decoded problem": sum(entry.row["eval_samples"] for entry in self.entries),
            "machine": len(values["hardware"]),
            "memory run": len(self.memories),
        }
        return [(count, what + "s" * (count != 1)) for what, count in counts.items()]


def variant_of(row: Row) -> str:
    """A task's family, unless it is the default, and its options."""
    return " ".join(filter(None, ["" if row["family"] == "default" else row["family"], row["options"]]))


def problem_of(row: Row) -> str:
    """A task with its family and options."""
    return " ".join(filter(None, [row["task"], variant_of(row)]))


def gather(runs_dirs: Sequence[Path], tables: Sequence[Path]) -> Gathered:
    """Raises UsageError for an invalid folder or table, and if there is no row at all."""
    by_default = not runs_dirs and not tables
    if by_default:
        runs_dirs, tables = [path for path in (Path("runs"),) if path.is_dir()], committed_tables()
    runs, notes = _finished(runs_dirs)
    read = {path: read_table(path) for path in tables}
    merged = merge(chain((Sourced(e.where, e.row) for e in runs), *read.values()), keep_contradictions=True)
    memories, untold = shown_memories(runs_dirs)
    if not merged and not memories:
        raise UsageError(
            "there is no finished run to report; `retrieval-gap sweep demo` makes some, or name --results FILE"
        )
    of_run = {entry.where: entry.run for entry in runs}
    entries = [Entry(where, row, of_run.get(where)) for where, row in merged]
    twice = len(entries) - len({entry.row["config_hash"] for entry in entries})
    if twice:
        notes.append(f"{twice} rows are of a configuration that another row has other results of; all are shown.")
    counts = [(str(path), sum(e.run is not None and e.run.path.parent == path for e in runs)) for path in runs_dirs]
    counts += [(str(path), len(rows)) for path, rows in read.items()]
    gathered = Gathered(
        entries=entries,
        sources=counts,
        tables=list(tables),
        own_tables=by_default,
        notes=notes + untold,
        memories=memories,
    )
    _add_records(gathered)
    return gathered


def committed_tables() -> list[Path]:
    """The tables of runs in results/; other tables there have other columns."""
    return [path for path in sorted(RESULTS.glob("*.csv")) if _is_table_of_runs(path)]


def _is_table_of_runs(path: Path) -> bool:
    try:
        read_table(path)
    except UsageError:
        return False
    return True


def _finished(runs_dirs: Iterable[Path]) -> tuple[list[Entry], list[str]]:
    """The finished runs of folders, and notes on those that are not shown."""
    entries, notes = [], []
    for runs_dir in runs_dirs:
        unfinished = 0
        for cell in known_runs(runs_dir):
            if cell.experiment is not None and cell.experiment.kind != TRAINED:
                continue
            if cell.run.status() != "done":
                unfinished += 1
                continue
            try:
                entries.append(Entry(str(cell.run.result), completed(str(cell.run.result), cell.rows()[0]), cell.run))
            except (RunError, UsageError) as error:
                notes.append(f"Not shown: {error}.")
        if unfinished:
            notes.append(f"{unfinished} runs in {runs_dir} are not finished and not shown.")
    return entries, notes


def _add_records(gathered: Gathered) -> None:
    """Add curves, samples and environments of those entries whose run directories keep them."""
    room, left_out = SAMPLE_CHARACTERS, 0
    for i, entry in enumerate(gathered.entries):
        if entry.run is None:
            continue
        if curve := [(told["samples"], told["loss"]) for told in entry.run.reports() if _is_number(told.get("loss"))]:
            gathered.curves[i] = thinned(curve)
        if seen := [told for told in entry.run.reports() if _is_number(told.get("accuracy"))]:
            gathered.learned[i] = [(told["samples"], told["accuracy"]) for told in seen]
        gathered.environments[i] = (entry.run.starts() or [{}])[-1]
        samples = shown_samples(entry.run.samples)
        size = sum(len(str(sample)) for sample in samples)
        if size > room:
            left_out += 1
        elif samples:
            room -= size
            gathered.samples[i] = samples
    if left_out:
        gathered.notes.append(f"The samples of {left_out} runs are left out: the page would be too large.")


def thinned(curve: list[tuple[int, float]]) -> list[tuple[int, float]]:
    """At most `CURVE_POINTS` points, evenly spaced, the last included."""
    step = -(-len(curve) // CURVE_POINTS)
    return curve[::-1][::step][::-1]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and abs(value) < float("inf")
