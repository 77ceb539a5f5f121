"""A preset from its cells to its result table; finished cells are skipped, partial ones go on."""

import os
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from retrieval_gap.devices import DeviceName, visible_gpus, worker_places
from retrieval_gap.environment import usable_cores
from retrieval_gap.errors import UsageError
from retrieval_gap.experiments.config import RunConfig
from retrieval_gap.experiments.cost import machine_here
from retrieval_gap.experiments.executor import CellEnded, PoolOutcome, check_outcome, run_pool
from retrieval_gap.experiments.filters import matches
from retrieval_gap.experiments.forecast import print_forecast, print_left
from retrieval_gap.experiments.presets import preset_cells
from retrieval_gap.experiments.results import (
    cells_of,
    finished_rows,
    print_counts,
    print_table,
    progress_of,
    samples_done,
)
from retrieval_gap.experiments.run import RunDirectory
from retrieval_gap.experiments.tables import write_rows
from retrieval_gap.files import make_folder, make_room_for

STATUS_SECONDS = 30.0
SHORT = 24  # cells that a dry run lists one by one


def sweep(
    preset: str,
    *,
    runs_dir: Path,
    device: DeviceName = "cpu",
    workers: int = 0,
    per_gpu: int = 0,
    only: str = "",
    shard: str = "",
    max_minutes: float = 0.0,
    dry_run: bool = False,
    csv: Path | None = None,
    keep_weights: bool = True,
) -> None:
    """Runs a preset's cells, prints its table, writes the finished rows to `csv` where one is given.

    workers, per_gpu: processes on the CPU, and processes that share each GPU; 0 means one a core, one a GPU.
    only, shard: which cells are run; the table of `csv` has all finished ones of the preset.
    With `max_minutes` what is left is told too; a dry run only tells.
    Raises UsageError for a preset, filter or number that will not do, RunError where a cell failed (the others are
    finished first) or a signal stopped it; cells that `max_minutes` leaves are no error.
    """
    if workers < 0 or per_gpu < 0 or not 0 <= max_minutes < float("inf"):
        raise UsageError("--workers, --per-gpu and --max-minutes are 0 or more")
    gpus = visible_gpus(device, os.environ.get("CUDA_VISIBLE_DEVICES"))
    places = worker_places(gpus, workers=workers, per_gpu=per_gpu, cores=usable_cores())
    every = preset_cells(preset)
    configs = share(select(every, only), shard)
    for config in configs:
        config.validate()
    cells = cells_of(configs, runs_dir)
    if dry_run:
        if len(cells) <= SHORT:
            print_table(cells)
        else:
            print_counts(Counter(cell.run.status() for cell in cells))
        print_forecast(cells, runs_dir, machine_here(places))
        return
    make_folder(runs_dir)
    if csv is not None:
        make_room_for(csv)
    outcome = PoolOutcome()
    runs = {config: RunDirectory.of(config, runs_dir) for config in configs}
    todo = most_valuable_first(runs)
    pool = run_pool(todo, runs_dir, places=places, seconds=60 * max_minutes, outcome=outcome, keep_weights=keep_weights)
    _tell(runs, pool, len(runs) - len(todo))
    print_table(cells)
    if max_minutes:
        print_left(cells, runs_dir, machine_here(places))
    if csv is not None:
        rows = finished_rows(cells_of(every, runs_dir))
        write_rows(csv, rows)
        print(f"{len(rows)} rows written to {csv}")
    check_outcome(outcome)


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


class _LastingConsole(Console):
    """Goes quiet where the reader of standard error goes away; rich would end the process."""

    def on_broken_pipe(self) -> None:
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


def most_valuable_first(runs: Mapping[RunConfig, RunDirectory]) -> list[RunConfig]:
    """The cells that are not done: those on their way, the nearest to its end first, then in the preset's order."""
    status = {config: run.status() for config, run in runs.items()}

    def place(config: RunConfig) -> tuple[bool, float]:
        if status[config] != "partial":
            return True, 0.0
        return False, -samples_done(runs[config], config) / config.samples

    return sorted((config for config in runs if status[config] != "done"), key=place)


def _tell(runs: Mapping[RunConfig, RunDirectory], pool: Iterator[CellEnded | None], ended: int) -> None:
    """Says on standard error what becomes of a pool's cells; `ended` of the runs had before."""
    started = told = time.monotonic()
    console = _LastingConsole(stderr=True, markup=False)
    with console.status("starting") as spinner:
        for event in pool:
            minutes = (time.monotonic() - started) / 60
            if event is not None:
                ended += 1
                console.print(f"{minutes:5.1f} min  {ended}/{len(runs)}  {_told(event, runs[event.config])}")
            elif console.is_terminal or time.monotonic() - told > STATUS_SECONDS:
                told = time.monotonic()
                line = f"{minutes:5.1f} min  {ended}/{len(runs)}  running: {_running(runs)}"
                spinner.update(Text(line)) if console.is_terminal else console.print(line)


def _told(event: CellEnded, run: RunDirectory) -> str:
    if event.reason:
        return f"{event.config.label()}: {event.reason}"
    row = run.row()
    return f"{event.config.label()}: accuracy {row['accuracy']:.3f}, exact trace {row['exact_trace']:.3f}"


def _running(runs: Mapping[RunConfig, RunDirectory]) -> str:
    at_work = [
        f"{config.label()} ({progress_of(run)} of {config.samples:,})"
        for config, run in runs.items()
        if run.status() == "running"
    ]
    return ", ".join(at_work)
