"""Runs cells on this machine: one in this process with a progress bar, or many in a pool of processes.

A pool's worker is one process for one cell, with one thread: two cells on two cores finish sooner than one cell on
both, and a worker that is killed takes one cell with it, which the next sweep goes on with.  On GPUs, a worker sees one
of them, which others may see as well.
"""

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing import resource_tracker
from multiprocessing.connection import wait
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from retrieval_gap.devices import CPU
from retrieval_gap.environment import usable_cores
from retrieval_gap.errors import RunError
from retrieval_gap.experiments.config import RunConfig
from retrieval_gap.experiments.run import RunDirectory, execute
from retrieval_gap.ranks import ALONE, Ranks
from retrieval_gap.training import StepReport, StoppedError, stop_requested

ERROR_LOG = "error.txt"
STOPPED, FAILED = 3, 1  # exit statuses of a worker
POLL_SECONDS = 1.0


def run_one(
    config: RunConfig, runs_dir: Path, threads: int, device: torch.device, *, ranks: Ranks = ALONE, **options: Any
) -> dict[str, Any]:
    """Trains and evaluates one run here, with a progress bar (plain lines where there is no terminal).

    options: those of `execute`.
    """
    torch.set_num_threads(threads or max(1, usable_cores() // ranks.place.local_count))
    console = Console(stderr=True)
    if not console.is_terminal:
        return execute(config, runs_dir, device=device, report=_print_report, ranks=ranks, **options)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]:.4f}  {task.fields[speed]:,.0f} samples/s"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bar:
        total = config.training().steps * config.batch_size
        task = bar.add_task(config.label(), total=total, loss=float("nan"), speed=0.0)
        return execute(
            config,
            runs_dir,
            device=device,
            report=lambda _, told: bar.update(task, completed=told.samples, loss=told.loss, speed=told.samples_per_s),
            ranks=ranks,
            **options,
        )


def _print_report(config: RunConfig, told: StepReport) -> None:
    left = (config.samples - told.samples) / told.samples_per_s
    line = f"{config.label()}  {told.samples:,}/{config.samples:,} samples  loss {told.loss:.4f}"
    with contextlib.suppress(OSError):  # who read along went away: no reason to stop training
        print(f"{line}  {told.samples_per_s:,.0f} samples/s  {left:,.0f} s left", file=sys.stderr, flush=True)


@dataclass
class PoolOutcome:
    """Cells that failed, with the reason, and those that were stopped on the way or never started.

    time_up: they were stopped because the time given was over, and for no other reason.
    """

    failed: list[tuple[RunConfig, str]] = field(default_factory=list)
    stopped: list[RunConfig] = field(default_factory=list)
    time_up: bool = False


@dataclass(frozen=True)
class CellEnded:
    """A worker's end, as `run_pool` tells it.  reason: "" where it finished."""

    config: RunConfig
    reason: str


def run_pool(
    configs: Sequence[RunConfig],
    runs_dir: Path,
    *,
    places: Sequence[str],
    seconds: float,
    outcome: PoolOutcome,
    keep_weights: bool = True,
) -> Iterator[CellEnded | None]:
    """Runs the cells in this order, one at each place at a time; yields each cell's end, and None about once a second.

    places: where each worker runs, as `devices.worker_places` says.
    At SIGINT, SIGTERM or after `seconds` (0: never), running cells write a checkpoint and stop.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["retrieval_gap.experiments.run"])
    queue, running = deque(configs), dict[ForkServerProcess, RunConfig]()
    free, place_of = deque(places), dict[ForkServerProcess, str]()
    deadline = time.monotonic() + seconds if seconds else float("inf")
    halting = False
    with stop_requested() as stop:
        try:
            while queue or running:
                late = time.monotonic() >= deadline
                if not halting and (stop.is_set() or late):
                    halting = True
                    outcome.time_up = late
                    outcome.stopped += queue
                    queue.clear()
                    terminate(running)
                while queue and free:
                    config, place = queue.popleft(), free.popleft()
                    process = _start(context, config, runs_dir, place, keep_weights)
                    running[process], place_of[process] = config, place
                wait([process.sentinel for process in running], timeout=POLL_SECONDS)
                for process in [p for p in running if not p.is_alive()]:
                    config = running.pop(process)
                    free.append(place_of.pop(process))
                    reason = _reason(process, config, runs_dir)
                    if process.exitcode in (STOPPED, -signal.SIGTERM):
                        outcome.stopped.append(config)
                    elif reason:
                        outcome.failed.append((config, reason))
                    yield CellEnded(config, reason)
                yield None
        finally:
            outcome.time_up &= not stop.is_set()
            terminate(running)


def _start(
    context: ForkServerContext, config: RunConfig, runs_dir: Path, place: str, keep_weights: bool
) -> ForkServerProcess:
    process = context.Process(target=_work, args=(config, runs_dir, place, keep_weights), name=config.label())
    start_deaf(process)
    return process


def start_deaf(process: ForkServerProcess) -> None:
    """A terminal sends Ctrl-C to the workers too, but it is the driver that stops them: they are born deaf to it."""
    resource_tracker.ensure_running()  # its start, else a part of the first worker's, unblocks SIGINT
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _work(config: RunConfig, runs_dir: Path, place: str, keep_weights: bool) -> None:
    """A worker's whole life; its exit status says how it ended.  SIGTERM outside training ends it at once."""
    os.environ["CUDA_VISIBLE_DEVICES"] = place  # before CUDA is first asked for; "" hides every GPU
    threading.Thread(target=stop_with_driver, name="driver", daemon=True).start()
    torch.set_num_threads(1)
    log = RunDirectory.of(config, runs_dir).path / ERROR_LOG
    try:
        execute(config, runs_dir, device=torch.device("cuda") if place else CPU, keep_weights=keep_weights)
    except StoppedError:
        os._exit(STOPPED)
    except BaseException as error:
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(f"{type(error).__name__}: {error}\n\n{traceback.format_exc()}", encoding="utf-8")
        os._exit(FAILED)
    log.unlink(missing_ok=True)


def stop_with_driver() -> None:
    """Waits for the driver's end, whatever the cause (a pipe from it closes), then stops this worker."""
    driver = multiprocessing.parent_process()
    if driver is not None:
        driver.join()
        os.kill(os.getpid(), signal.SIGTERM)


def _reason(process: ForkServerProcess, config: RunConfig, runs_dir: Path) -> str:
    if process.exitcode == 0:
        return ""
    if process.exitcode in (STOPPED, -signal.SIGTERM):
        return "stopped"
    log = RunDirectory.of(config, runs_dir).path / ERROR_LOG
    if process.exitcode == FAILED and log.exists():
        first, *_ = [*log.read_text(encoding="utf-8").splitlines(), "no reason could be written"]
        return f"{first} (traceback in {log})"
    return f"its process ended with status {process.exitcode}"


def terminate(running: Iterable[ForkServerProcess]) -> None:
    for process in running:
        if process.pid is not None and process.is_alive():
            os.kill(process.pid, signal.SIGTERM)


def check_outcome(outcome: PoolOutcome) -> None:
    """Raises RunError, one line, where a cell failed or a signal left cells undone."""
    told = []
    if outcome.stopped and not outcome.time_up:
        told.append(f"stopped; {len(outcome.stopped)} cell(s) left; the same command goes on")
    if outcome.failed:
        config, reason = outcome.failed[0]
        told.append(f"{len(outcome.failed)} cell(s) failed; the first, {config.label()}: {reason}")
    if told:
        raise RunError("; ".join(told))
