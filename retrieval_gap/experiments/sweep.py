"""A preset from its cells to its result table; finished cells are skipped, partial ones go on."""

import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from retrieval_gap.devices import DeviceName, visible_gpus, worker_places
from retrieval_gap.environment import usable_cores
from retrieval_gap.errors import UsageError, unknown
from retrieval_gap.experiments.config import RunConfig
from retrieval_gap.experiments.executor import CellEnded, PoolOutcome, check_outcome, run_pool
from retrieval_gap.experiments.presets import preset_cells
from retrieval_gap.experiments.results import cells_of, finished_rows, print_table, progress_of, write_rows
from retrieval_gap.experiments.run import RunDirectory
from retrieval_gap.files import make_folder, make_room_for

FILTER_KEYS = ("task", "mode", "n", "arch", "size", "family", "seed", "lr")
STATUS_SECONDS = 30.0


def sweep(
    preset: str,
    *,
    runs_dir: Path,
    device: DeviceName = "cpu",
    workers: int = 0,
    per_gpu: int = 0,
    only: str = "",
    max_minutes: float = 0.0,
    dry_run: bool = False,
    csv: Path | None = None,
) -> None:
    """Runs a preset's cells, prints its table, writes the finished rows to `csv` where one is given.

    workers, per_gpu: processes on the CPU, and processes that share each GPU; 0 means one a core, one a GPU.
    Raises UsageError for a preset, filter or number that will not do, RunError where a cell failed (the others are
    finished first) or a signal stopped it; cells that `max_minutes` leaves are no error.
    """
    if workers < 0 or per_gpu < 0 or not 0 <= max_minutes < float("inf"):
        raise UsageError("--workers, --per-gpu and --max-minutes are 0 or more")
    every = preset_cells(preset)
    configs = select(every, only)
    for config in configs:
        config.validate()
    cells = cells_of(configs, runs_dir)
    if dry_run:
        print_table(cells)
        return
    gpus = visible_gpus(device, os.environ.get("CUDA_VISIBLE_DEVICES"))
    places = worker_places(gpus, workers=workers, per_gpu=per_gpu, cores=usable_cores())
    make_folder(runs_dir)
    if csv is not None:
        make_room_for(csv)
    outcome = PoolOutcome()
    runs = {config: RunDirectory.of(config, runs_dir) for config in configs}
    _run_and_tell(runs, runs_dir, places, 60 * max_minutes, outcome)
    print_table(cells)
    if csv is not None:
        rows = finished_rows(cells_of(every, runs_dir))
        write_rows(csv, rows)
        print(f"{len(rows)} rows written to {csv}")
    check_outcome(outcome)


def select(configs: Sequence[RunConfig], only: str) -> list[RunConfig]:
    """The cells that match every `key=value[,value]` of the filter.  Raises UsageError where none does."""
    kept = list(configs)
    for condition in only.split():
        key, _, values = condition.partition("=")
        if key not in FILTER_KEYS:
            raise unknown("filter key", key, FILTER_KEYS)
        kept = [config for config in kept if str(getattr(config, key)) in values.split(",")]
    if not kept:
        raise UsageError(f"no cell of the preset matches --only {only!r}")
    return kept


class _LastingConsole(Console):
    """Goes quiet where the reader of standard error goes away; rich would end the process."""

    def on_broken_pipe(self) -> None:
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


def _run_and_tell(
    runs: Mapping[RunConfig, RunDirectory], runs_dir: Path, places: Sequence[str], seconds: float, outcome: PoolOutcome
) -> None:
    todo = [config for config, run in runs.items() if run.status() != "done"]
    ended, started, told = len(runs) - len(todo), time.monotonic(), time.monotonic()
    console = _LastingConsole(stderr=True, markup=False)
    with console.status("starting") as spinner:
        for event in run_pool(todo, runs_dir, places=places, seconds=seconds, outcome=outcome):
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
