"""A preset from its cells to its result table; finished cells are skipped, partial ones go on."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from retrieval_gap.experiments.grids import preset_cells
from retrieval_gap.experiments.trained.config import RunConfig
from retrieval_gap.experiments.trained.cost import machine_here
from retrieval_gap.experiments.trained.forecast import print_forecast, print_left, seconds_left
from retrieval_gap.machine.devices import DeviceName
from retrieval_gap.machine.errors import UsageError
from retrieval_gap.machine.files import make_folder, make_room_for
from retrieval_gap.runs.directory import RunDirectory, Status
from retrieval_gap.runs.executors import ExecutorName, check_executor, open_executor, places_here
from retrieval_gap.runs.executors.cells import TRIES, CellOptions, Outcome, check_outcome, run_cells
from retrieval_gap.runs.filters import matches
from retrieval_gap.runs.results import Cell, cells_of, finished_rows, print_counts, print_table, samples_done
from retrieval_gap.runs.tracking import LogName, check_tracker
from retrieval_gap.runs.watch import watch
from retrieval_gap.tables.rows import write_rows
from retrieval_gap.training.config import CHECKPOINT_SECONDS

SHORT = 24  # cells that a dry run lists one by one


def sweep(
    preset: str,
    *,
    runs_dir: Path,
    executor: ExecutorName = "local",
    address: str = "",
    device: DeviceName = "cpu",
    workers: int = 0,
    per_gpu: int = 0,
    tries: int = TRIES,
    only: str = "",
    shard: str = "",
    max_minutes: float = 0.0,
    dry_run: bool = False,
    csv: Path | None = None,
    keep_weights: bool = True,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    log: LogName = "none",
) -> None:
    """Runs a preset's cells, prints its table, writes the finished rows to `csv` where one is given.

    executor, address: where they run, as `open_executor` says.
    workers, per_gpu: processes on the CPU, and processes that share each GPU; 0 means one a core, one a GPU.
    only, shard: which cells are run; the table of `csv` has all finished ones of the preset.
    tries: how often a cell may fail before it is set aside.
    With `max_minutes` what is left is told too; a dry run only tells.
    Raises UsageError for a preset, filter or number that will not do, RunError where a cell failed (the others are
    finished first) or a signal stopped it; cells that `max_minutes` leaves are no error.
    """
    if workers < 0 or per_gpu < 0 or not 0 <= max_minutes < float("inf"):
        raise UsageError("--workers, --per-gpu and --max-minutes are 0 or more")
    options = CellOptions(
        runs_dir=runs_dir, keep_weights=keep_weights, checkpoint_seconds=checkpoint_seconds, tries=tries, log=log
    )
    check_tracker(log)
    check_executor(executor, address, workers)
    where = {"device": device, "workers": workers, "per_gpu": per_gpu}
    places = places_here(**where) if executor == "local" else []  # type: ignore[arg-type]
    every = preset_cells(preset)
    configs = share(select(every, only), shard)
    for config in configs:
        config.validate()
    cells = cells_of(configs, runs_dir)
    if dry_run:
        _print_plan(cells, runs_dir, places or places_here("auto", workers=0, per_gpu=0))
        return
    make_folder(runs_dir)
    if csv is not None:
        make_room_for(csv)
    outcome = Outcome()
    with open_executor(executor, options, address=address, **where) as opened:  # type: ignore[arg-type]
        machine = machine_here(opened.places)
        runs = {config: RunDirectory.of(config, runs_dir) for config in configs}
        events = run_cells(most_valuable_first(runs), opened, runs_dir, seconds=60 * max_minutes, outcome=outcome)
        watch(runs, events, lambda: seconds_left(cells, runs_dir, machine))
    print_table(cells)
    for config, reason in outcome.failed:
        print(f"failed: {config.label()}: {reason}")
    if max_minutes:
        print_left(cells, runs_dir, machine)
    if csv is not None:
        rows = finished_rows(cells_of(every, runs_dir))
        write_rows(csv, rows)
        print(f"{len(rows)} rows written to {csv}")
    check_outcome(outcome)


def _print_plan(cells: Sequence[Cell], runs_dir: Path, places: Sequence[str]) -> None:
    """What is done of the cells, and what they cost."""
    if len(cells) <= SHORT:
        print_table(cells)
    else:
        print_counts(Counter(cell.run.status() for cell in cells))
    print_forecast(cells, runs_dir, machine_here(places))


def select(configs: Sequence[RunConfig], only: str) -> list[RunConfig]:
    """The cells that match a filter.  Raises UsageError where none does."""
    kept = [config for config in configs if matches(vars(config), only)]
    if not kept:
        raise UsageError(f"no cell of the preset matches --only {only!r}")
    return kept


def share(configs: Sequence[RunConfig], shard: str) -> list[RunConfig]:
    """Every N-th cell from the I-th on, for a shard "I/N" with I from 0; all for "".  Raises UsageError for others."""
    if not shard:
        return list(configs)
    found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", shard)
    if not found or int(found[1]) >= int(found[2]):
        raise UsageError(f"--shard {shard} will not do: I/N with I from 0 to N - 1, such as 0/8, is wanted")
    return list(configs[int(found[1]) :: int(found[2])])


def most_valuable_first(runs: Mapping[RunConfig, RunDirectory]) -> list[RunConfig]:
    """The cells that are not done: those on their way, the nearest to its end first, then in the preset's order, and
    last those that failed before."""
    status = {config: run.status() for config, run in runs.items()}
    order: dict[Status, int] = {"partial": 0, "failed": 2}

    def place(config: RunConfig) -> tuple[int, float]:
        first = order.get(status[config], 1)
        return first, 0.0 if first else -samples_done(runs[config], config) / config.samples

    return sorted((config for config in runs if status[config] != "done"), key=place)
