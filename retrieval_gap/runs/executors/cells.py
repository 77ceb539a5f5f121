"""Shared by executors: what a worker does with a cell, and the driver's loop over cells.

An executor starts cells, retries those that fail, and reports how each ended.  Everything that has to survive a fault
is in the run directories: a worker holds the lock of its cell, so that no two work on the same one.
"""

import contextlib
import threading
import time
import traceback
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple, Protocol

from retrieval_gap.machine.errors import HopelessError, RunError, UsageError
from retrieval_gap.machine.files import write_text
from retrieval_gap.machine.stopping import StoppedError, stop_requested
from retrieval_gap.runs.directory import HeldError, RunDirectory
from retrieval_gap.runs.experiment import Experiment, RunOptions
from retrieval_gap.runs.perform import perform
from retrieval_gap.tasks.api import TaskError

POLL_SECONDS = 1.0
STOPPED = "stopped"
LONGEST_REASON = 2_000  # characters
# A cell that another sweep has just begun is soon left to it: a sweep that waits would meet it again at every cell.
PATIENCE_SECONDS = 0.2


class End(IntEnum):
    """How a worker's try at a cell ended; the exit status of a local worker.

    FAILED may succeed another time, HOPELESS will not.  HELD: another process works on the cell.
    """

    DONE = 0
    FAILED = 1
    STOPPED = 3
    HELD = 4
    HOPELESS = 5


class Ended(NamedTuple):
    """reason: one line, "" if the cell is done."""

    cell: Experiment
    end: End
    reason: str


class Executor(Protocol):
    """places: one for each cell that can run in parallel, "" on a CPU."""

    places: Sequence[str]

    def has_room(self) -> bool:
        """Whether a cell may be started."""

    def start(self, cell: Experiment, run: RunDirectory) -> None:
        """Start a cell, which is tried up to `tries` times.  run: its directory, found when the sweep began."""

    def wait(self, seconds: float, stop: threading.Event) -> list[Ended]:
        """The cells that have ended for good; waits up to `seconds` for one.  None is tried again after `stop`."""

    def stop(self) -> None:
        """Make cells write a checkpoint and end; none is started again."""


@dataclass
class SweepOutcome:
    """Cells that failed, with the reason, and those that were stopped on the way or never started.

    time_up: they were stopped only because the time given was over.
    """

    failed: list[tuple[Experiment, str]] = field(default_factory=list)
    stopped: list[Experiment] = field(default_factory=list)
    time_up: bool = False


@dataclass(frozen=True)
class CellEnded:
    """A cell's end, as `run_cells` yields it.  reason: "" if it finished, `STOPPED`, or why it failed."""

    cell: Experiment
    reason: str


def run_cells(
    cells: Sequence[Experiment], executor: Executor, runs_dir: Path, *, seconds: float, outcome: SweepOutcome
) -> Iterator[CellEnded | None]:
    """Run the cells in this order; yield each cell's end, and None about once a second.

    A cell that another process works on is left to that process; the others go first, then it is waited for.
    At SIGINT, SIGTERM, SIGUSR1 or after `seconds` (0: never), running cells write a checkpoint and stop.
    """
    runs = {cell: RunDirectory.of(cell, runs_dir) for cell in cells}
    queue, running = deque(cells), 0
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
                for cell in _free(queue, runs, executor):
                    queue.remove(cell)
                    if runs[cell].result.exists():  # finished by another sweep
                        yield CellEnded(cell, "")
                    else:
                        executor.start(cell, runs[cell])
                        running += 1
                for ended in executor.wait(POLL_SECONDS, stop):
                    running -= 1
                    if ended.end is End.HELD and not halting:
                        queue.append(ended.cell)
                    else:
                        yield _recorded(ended, runs[ended.cell], outcome)
                yield None
        finally:
            outcome.time_up &= not stop.is_set()
            executor.stop()


def _free(
    queue: Sequence[Experiment], runs: Mapping[Experiment, RunDirectory], executor: Executor
) -> Iterator[Experiment]:
    """The cells that may start now: those that no other process works on, as long as there is room."""
    for cell in list(queue):
        if not executor.has_room():
            return
        if not runs[cell].is_held():
            yield cell


def _recorded(ended: Ended, run: RunDirectory, outcome: SweepOutcome) -> CellEnded:
    """Record a final end.  If a failed cell left no `error.txt`, write the reason there."""
    cell, end, reason = ended
    if run.result.exists():
        return CellEnded(cell, "")
    if end in (End.STOPPED, End.HELD):
        outcome.stopped.append(cell)
        return CellEnded(cell, STOPPED)
    if end is End.DONE:
        reason = f"its worker has finished, but {run.result} is not there; every node has to see the same --runs-dir"
    if run.error.exists():
        reason += f" (traceback in {run.error})"
    else:
        with contextlib.suppress(OSError):
            run.path.mkdir(parents=True, exist_ok=True)
            write_text(run.error, reason + "\n")
    outcome.failed.append((cell, reason))
    return CellEnded(cell, reason)


def work_on(cell: Experiment, run: RunDirectory, options: RunOptions) -> tuple[End, str]:
    """A worker's try at a cell in its directory: how it ended, and the reason in one line.

    An error is written to the run's `error.txt`, with the traceback.
    """
    end, reason = End.DONE, ""
    try:
        if RunDirectory.of(cell, options.runs_dir).path.name != run.path.name:
            files = " or ".join(cell.foreign()) or "a file"
            raise UsageError(f"{files} changed since the sweep began; the same command runs its cells anew")
        perform(cell, options)
    except HeldError as error:
        return End.HELD, str(error)
    except (StoppedError, KeyboardInterrupt):
        end, reason = End.STOPPED, STOPPED
    except BaseException as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:LONGEST_REASON]
        with contextlib.suppress(OSError):  # a full disk
            run.path.mkdir(parents=True, exist_ok=True)
            write_text(run.error, f"{reason}\n\n{traceback.format_exc()}")
        hopeless = isinstance(error, UsageError | TaskError | HopelessError)
        return End.HOPELESS if hopeless else End.FAILED, reason
    run.error.unlink(missing_ok=True)
    return end, reason


def check_outcome(outcome: SweepOutcome) -> None:
    """Raise RunError, one line, if a cell failed or a signal left cells unfinished."""
    told = []
    if outcome.stopped and not outcome.time_up:
        told.append(f"stopped; {len(outcome.stopped)} cell(s) left; the same command resumes")
    if outcome.failed:
        cell, reason = outcome.failed[0]
        told.append(f"{len(outcome.failed)} cell(s) failed; the first, {cell.label()}: {reason}")
    if told:
        raise RunError("; ".join(told))
