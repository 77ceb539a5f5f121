"""Sweeps in processes of their own, for tests that stop and kill them."""

import csv
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import fields
from pathlib import Path
from typing import Any

from retrieval_gap.experiments.trained.config import RunConfig
from retrieval_gap.runs.directory import RunDirectory
from retrieval_gap.runs.executors import ExecutorOptions
from retrieval_gap.runs.experiment import Experiment, RunOptions
from retrieval_gap.runs.sweep import SweepOptions, print_plan, sweep

PATIENCE = 180.0
VARYING = ("tokens_per_s", "wall_s", "commit")  # with the clock, and with files that change while tests run


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


@contextmanager
def sweep_process(cells: Sequence[RunConfig], runs_dir: Path, *words: str) -> Iterator[subprocess.Popen[str]]:
    """`retrieval-gap sweep` of these cells on the CPU, in a process group that is killed at the end.

    Local workers write to its stderr too, which therefore ends with the last of them."""
    script = (
        "import sys; from retrieval_gap.experiments import grids as presets; from retrieval_gap.cli import main\n"
        "from retrieval_gap.experiments.trained.config import RunConfig\n"
        f"presets.PRESETS['smoke'] = lambda: {list(cells)!r}\n"
        "sys.exit(main(['sweep', 'smoke', '--device', 'cpu', *sys.argv[1:]]))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, *words, "--runs-dir", str(runs_dir), "--csv", str(table_of(runs_dir))],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as driver:
        try:
            yield driver
        finally:
            with suppress(ProcessLookupError):
                os.killpg(driver.pid, signal.SIGKILL)


def sweep_here(cells: Sequence[Experiment], runs_dir: Path, csv: Path | None = None, **words: Any) -> None:
    """A sweep in this process, on the CPU; words: options of `SweepOptions`, of `ExecutorOptions`, or `dry_run`."""
    of_executor = {f.name for f in fields(ExecutorOptions)}
    executor = ExecutorOptions(**{name: value for name, value in words.items() if name in of_executor})
    rest = {name: value for name, value in words.items() if name not in of_executor | {"dry_run"}}
    options = SweepOptions(csv=csv, executor=executor, **rest)
    if words.get("dry_run"):
        print_plan(cells, options, runs_dir)
    else:
        sweep(cells, options, RunOptions(runs_dir=runs_dir))


def table_of(runs_dir: Path) -> Path:
    return runs_dir.parent / f"{runs_dir.name}.csv"


def rows_of(table: Path) -> list[dict[str, str]]:
    with table.open(newline="") as file:
        return list(csv.DictReader(file))


def told_rows(runs_dir: Path) -> list[dict[str, str]]:
    """The rows of a sweep's table, without what differs between two sweeps of the same cells."""
    return [{key: value for key, value in row.items() if key not in VARYING} for row in rows_of(table_of(runs_dir))]


def starts_of(run: RunDirectory) -> int:
    """How often a worker started or resumed the run."""
    return len((run.path / "environment.jsonl").read_text().splitlines())


def worker_of(run: RunDirectory) -> int:
    """The id of the process that holds a run; 0 if there is none."""
    if not run.is_held():
        return 0
    lock = (run.path / "lock").stat()
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            with suppress(OSError):
                for file in (process / "fd").iterdir():
                    with suppress(OSError):
                        if os.path.samestat(file.stat(), lock):
                            return int(process.name)
    return 0


def with_descendants(pid: int) -> list[int]:
    """The ids of a process and of all its descendants."""
    children = dict[int, list[int]]()
    for process in Path("/proc").iterdir():
        with suppress(OSError, ValueError):
            parent = (process / "stat").read_text().rpartition(")")[2].split()[1]
            children.setdefault(int(parent), []).append(int(process.name))
    found = [pid]
    for one in found:
        found += children.get(one, [])
    return found
