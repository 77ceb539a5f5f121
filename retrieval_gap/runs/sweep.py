"""Run the cells of a grid and write their result table; finished cells are skipped, partial ones resumed."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from retrieval_gap.machine.errors import UsageError
from retrieval_gap.machine.files import make_folder
from retrieval_gap.machine.printing import print_safely
from retrieval_gap.runs.directory import RunDirectory, Status
from retrieval_gap.runs.executors import ExecutorOptions, open_executor
from retrieval_gap.runs.executors.cells import SweepOutcome, check_outcome, run_cells
from retrieval_gap.runs.experiment import TRAINED, Experiment, RunOptions
from retrieval_gap.runs.known import KnownRun, finished_rows, planned_runs, print_counts
from retrieval_gap.runs.listing import print_runs, table_columns
from retrieval_gap.runs.tracking import check_tracker
from retrieval_gap.runs.watch import names_of, watch
from retrieval_gap.tables import filters
from retrieval_gap.tables.rows import make_room_for_table, save_table

SHORT = 24  # the most cells that a dry run lists one by one
GONE = "finished, and its weights were not kept: delete the folder to train it again"


@dataclass(frozen=True, kw_only=True)
class SweepOptions:
    """Which cells of a grid are run, where, and until when.

    only, shard: which cells are run; the table in `csv` has all finished cells of the grid.
    max_minutes: time after which running cells write a checkpoint and stop; 0 means never.
    Raises UsageError for a number out of range.
    """

    only: str = ""
    shard: str = ""
    max_minutes: float = 0.0
    csv: Path | None = None
    executor: ExecutorOptions = field(default_factory=ExecutorOptions)

    def __post_init__(self) -> None:
        object.__setattr__(self, "csv", None if self.csv is None else Path(self.csv))  # a notebook gives a text
        if not 0 <= self.max_minutes < float("inf"):
            raise UsageError("--max-minutes is 0 or more")

    def chosen(self, cells: Sequence[Experiment]) -> list[Experiment]:
        """The cells to run.  Raises UsageError for a filter that leaves none, and for an invalid shard."""
        return share(select(different(cells), self.only), self.shard)


def different(cells: Sequence[Experiment]) -> list[Experiment]:
    """The cells without those that are the same run as an earlier one (lr 0.001, and 0 for that default)."""
    found: dict[Path, Experiment] = {}
    for cell in cells:
        found.setdefault(RunDirectory.of(cell, Path()).path, cell)
    return list(found.values())


def sweep(cells: Sequence[Experiment], options: SweepOptions, run: RunOptions) -> None:
    """Run the cells, print their table, and write the finished rows of all of them to `csv` if it is given.

    With `max_minutes`, also print what is left.
    Raises UsageError or TaskError for an invalid cell, filter or number, RunError if a cell failed (after the others
    are finished) or a signal stopped the sweep; cells that `max_minutes` leaves are not an error.
    """
    check_tracker(run.log)
    if options.executor.name == "local":
        options.executor.places_here()  # refuses too many workers before anything is written
    chosen = options.chosen(cells)
    for cell in chosen:
        cell.validate()
    # Named before the first starts: a user's file, which is part of a name, may change meanwhile.
    every = planned_runs(different(cells), run.runs_dir) if options.csv is not None else []
    planned, planner = planned_runs(chosen, run.runs_dir), cells[0].planner()
    runs = {cell: each.run for cell, each in zip(chosen, planned, strict=True)}
    make_folder(run.runs_dir)
    if options.csv is not None:
        make_room_for_table(options.csv, table_columns([], cells))
    if run.keep_weights:
        for cell, directory in runs.items():
            if cell.kind == TRAINED and directory.lacks_weights():
                print_safely(f"{directory.path}: {GONE}")
    outcome = SweepOutcome()
    with open_executor(options.executor, run) as executor:
        places = list(executor.places)
        order = most_valuable_first(runs)
        events = run_cells(order, executor, run.runs_dir, seconds=60 * options.max_minutes, outcome=outcome)
        watch(runs, events, lambda: planner.seconds_left(to_come(planned, outcome), run.runs_dir, places))
    print_runs(planned)
    names = names_of(runs)
    for cell, reason in outcome.failed:
        print_safely(f"failed: {names[cell]}: {reason}")
    if options.csv is not None:
        rows = finished_rows(every)
        save_table(options.csv, table_columns(rows, cells), rows)
    if options.max_minutes:
        planner.print_left(planned, run.runs_dir, places)
    check_outcome(outcome)


def to_come(planned: Sequence[KnownRun], outcome: SweepOutcome) -> list[KnownRun]:
    """The cells without those that failed in this sweep, which only the next sweep tries again."""
    set_aside = [cell for cell, _ in outcome.failed]
    return [each for each in planned if each.experiment not in set_aside]


def run_quietly(cells: Sequence[Experiment], executor: ExecutorOptions, run: RunOptions) -> None:
    """Run the cells and print nothing.  Raises RunError if one failed or a signal stopped them."""
    make_folder(run.runs_dir)
    outcome = SweepOutcome()
    with open_executor(executor, run) as opened:
        for _ in run_cells(cells, opened, run.runs_dir, seconds=0, outcome=outcome):
            pass
    check_outcome(outcome)


def print_plan(cells: Sequence[Experiment], options: SweepOptions, runs_dir: Path) -> None:
    """Print each cell's command, the cells' status and their cost; run nothing."""
    chosen = options.chosen(cells)
    for cell in chosen:
        cell.validate()
    for command in filter(None, (cell.command() for cell in chosen)):
        print(command)
    planned = planned_runs(chosen, runs_dir)
    if len(planned) <= SHORT:
        print_runs(planned)
    else:
        print_counts(Counter(each.run.status() for each in planned))
    cells[0].planner().print_plan(planned, runs_dir, options.executor.places_here())


def select(cells: Sequence[Experiment], only: str) -> list[Experiment]:
    """The cells that match a filter.  Raises UsageError if none does."""
    kept = filters.select(cells, only)
    if not kept:
        raise UsageError(f"no cell of the grid matches --only {only!r}" if only else "the grid has no cells")
    return kept


def share(cells: Sequence[Experiment], shard: str) -> list[Experiment]:
    """Every N-th cell from the I-th on, for a shard "I/N" with I from 0; all for "".  Raises UsageError if invalid."""
    if not shard:
        return list(cells)
    found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", shard)
    if not found or int(found[1]) >= int(found[2]):
        raise UsageError(f"--shard {shard} is invalid: expected I/N with I from 0 to N - 1, such as 0/8")
    return list(cells[int(found[1]) :: int(found[2])])


def most_valuable_first(runs: Mapping[Experiment, RunDirectory]) -> list[Experiment]:
    """The unfinished cells: first partial ones, the nearest to its end first, then others in the grid's order, and
    last those that failed before."""
    status = {cell: run.status() for cell, run in runs.items()}
    order: dict[Status, int] = {"partial": 0, "failed": 2}

    def place(cell: Experiment) -> tuple[int, float]:
        first = order.get(status[cell], 1)
        return first, 0.0 if first else -cell.progress(runs[cell]).share

    return sorted((cell for cell in runs if status[cell] != "done"), key=place)
