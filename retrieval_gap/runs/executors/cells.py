"""What executors have in common: a cell's life in a worker, and the driver's loop over cells.

An executor starts cells, tries again those that fail, and tells how each ended.  Everything that has to survive a fault
is in the run directories: a cell is held by a lock while a worker has it, so that no two work on the same.
"""

import contextlib
import time
import traceback
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple, Protocol

import torch

from retrieval_gap.experiments.trained.config import RunConfig
from retrieval_gap.experiments.trained.run import execute
from retrieval_gap.machine.errors import RunError, UsageError
from retrieval_gap.machine.files import write_text
from retrieval_gap.runs.directory import HeldError, RunDirectory
from retrieval_gap.runs.tracking import LogName
from retrieval_gap.tasks.api import TaskError
from retrieval_gap.training.config import CHECKPOINT_SECONDS
from retrieval_gap.training.loop import DivergedError, StoppedError, stop_requested

POLL_SECONDS = 1.0
TRIES = 3
STOPPED = "stopped"
LONGEST_REASON = 2_000  # characters
# A cell that another sweep has just begun is left to it at once: who waited would be next to it at every cell.
PATIENCE_SECONDS = 0.2


class End(IntEnum):
    """How a worker's turn at a cell ended; the exit status of a local worker.

    FAILED may go better another time, HOPELESS not.  HELD: another process works on the cell.
    """

    DONE = 0
    FAILED = 1
    STOPPED = 3
    HELD = 4
    HOPELESS = 5


class Ended(NamedTuple):
    """reason: one line, "" where the cell is done."""

    config: RunConfig
    end: End
    reason: str


@dataclass(frozen=True, kw_only=True)
class CellOptions:
    """What holds for every cell of a sweep.  tries: how often a cell may fail before it is set aside.  log: see
    `execute`."""

    runs_dir: Path
    keep_weights: bool = True
    checkpoint_seconds: float = CHECKPOINT_SECONDS
    tries: int = TRIES
    log: LogName = "none"

    def __post_init__(self) -> None:
        if self.tries < 1:
            raise UsageError("--tries is 1 or more")


class Executor(Protocol):
    """places: one for each cell that can run at a time, "" on a CPU."""

    places: Sequence[str]

    def has_room(self) -> bool:
        """Whether a cell may be started."""

    def start(self, config: RunConfig) -> None:
        """Runs a cell, as often as it takes up to `tries` times."""

    def wait(self, seconds: float) -> list[Ended]:
        """The cells that have ended for good; waits for one at the most so long."""

    def stop(self) -> None:
        """Has cells write a checkpoint and end, and starts none again."""


@dataclass
class Outcome:
    """Cells that failed, with the reason, and those that were stopped on the way or never started.

    time_up: they were stopped because the time given was over, and for no other reason.
    """

    failed: list[tuple[RunConfig, str]] = field(default_factory=list)
    stopped: list[RunConfig] = field(default_factory=list)
    time_up: bool = False


@dataclass(frozen=True)
class CellEnded:
    """A cell's end, as `run_cells` tells it.  reason: "" where it finished, `STOPPED` where it has still to."""

    config: RunConfig
    reason: str


def run_cells(
    configs: Sequence[RunConfig], executor: Executor, runs_dir: Path, *, seconds: float, outcome: Outcome
) -> Iterator[CellEnded | None]:
    """Runs the cells in this order; yields each cell's end, and None about once a second.

    A cell that another process works on is left to it; the others go first, then it is waited for.
    At SIGINT, SIGTERM or after `seconds` (0: never), running cells write a checkpoint and stop.
    """
    runs = {config: RunDirectory.of(config, runs_dir) for config in configs}
    queue, running = deque(configs), 0
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
                    executor.stop()
                for config in _free(queue, runs, executor):
                    queue.remove(config)
                    if runs[config].result.exists():  # by another sweep
                        yield CellEnded(config, "")
                    else:
                        executor.start(config)
                        running += 1
                for config, end, reason in executor.wait(POLL_SECONDS):
                    running -= 1
                    if end is End.HELD and not halting:
                        queue.append(config)
                    else:
                        yield _recorded(Ended(config, end, reason), runs[config], outcome)
                yield None
        finally:
            outcome.time_up &= not stop.is_set()
            executor.stop()


def _free(
    queue: Sequence[RunConfig], runs: Mapping[RunConfig, RunDirectory], executor: Executor
) -> Iterator[RunConfig]:
    """The cells that may start now: as long as there is room, and not those that another process works on."""
    for config in list(queue):
        if not executor.has_room():
            return
        if not runs[config].is_held():
            yield config


def _recorded(ended: Ended, run: RunDirectory, outcome: Outcome) -> CellEnded:
    """Writes down an end that is one for good.  Of a cell that died without a word, the run's directory tells why."""
    config, end, reason = ended
    if run.result.exists():
        return CellEnded(config, "")
    if end in (End.STOPPED, End.HELD):
        outcome.stopped.append(config)
        return CellEnded(config, STOPPED)
    if end is End.DONE:
        reason = f"its worker has finished, but {run.result} is not there; every node has to see the same --runs-dir"
    if run.error.exists():
        reason += f" (traceback in {run.error})"
    else:
        with contextlib.suppress(OSError):
            run.path.mkdir(parents=True, exist_ok=True)
            write_text(run.error, reason + "\n")
    outcome.failed.append((config, reason))
    return CellEnded(config, reason)


def work_on(config: RunConfig, options: CellOptions, device: torch.device) -> tuple[End, str]:
    """A worker's turn at a cell, on one thread: how it ended, and the reason in one line.

    What went wrong is left in the run's `error.txt`, with the traceback.
    """
    torch.set_num_threads(1)
    run = RunDirectory.of(config, options.runs_dir)
    end, reason = End.DONE, ""
    try:
        execute(
            config,
            options.runs_dir,
            device=device,
            keep_weights=options.keep_weights,
            checkpoint_seconds=options.checkpoint_seconds,
            log=options.log,
            patience=PATIENCE_SECONDS,
        )
    except HeldError as error:
        return End.HELD, str(error)
    except (StoppedError, KeyboardInterrupt):
        end, reason = End.STOPPED, STOPPED
    except BaseException as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:LONGEST_REASON]
        with contextlib.suppress(OSError):  # a full disk
            run.path.mkdir(parents=True, exist_ok=True)
            write_text(run.error, f"{reason}\n\n{traceback.format_exc()}")
        hopeless = isinstance(error, UsageError | TaskError | DivergedError) or run.failure.exists()
        return End.HOPELESS if hopeless else End.FAILED, reason
    run.error.unlink(missing_ok=True)
    return end, reason


def check_outcome(outcome: Outcome) -> None:
    """Raises RunError, one line, where a cell failed or a signal left cells undone."""
    told = []
    if outcome.stopped and not outcome.time_up:
        told.append(f"stopped; {len(outcome.stopped)} cell(s) left; the same command goes on")
    if outcome.failed:
        config, reason = outcome.failed[0]
        told.append(f"{len(outcome.failed)} cell(s) failed; the first, {config.label()}: {reason}")
    if told:
        raise RunError("; ".join(told))
