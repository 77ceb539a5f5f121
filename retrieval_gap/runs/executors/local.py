"""A pool of processes on this machine.

A worker is one process for one try at one cell, with one thread: two cells on two cores finish sooner than one cell on
both, and a killed worker loses only one try.  With GPUs, a worker sees one GPU, which others may share.
"""

import contextlib
import logging
import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerContext, ForkServerProcess
from typing import NamedTuple

from retrieval_gap.runs.directory import RunDirectory
from retrieval_gap.runs.executors.cells import LONGEST_REASON, PATIENCE_SECONDS, STOPPED, End, Ended, work_on
from retrieval_gap.runs.executors.processes import follow_driver, start_worker, terminate
from retrieval_gap.runs.experiment import Experiment, RunOptions

SILENT = "its process ended with status"
_log = logging.getLogger(__name__)


class _Seat(NamedTuple):
    """What a worker works on: the cell, its directory, the try (1 is the first), the place, and the pipe that carries
    its reason."""

    cell: Experiment
    run: RunDirectory
    nth: int
    place: str
    told: Connection


class LocalPool:
    """An `Executor`.  places: the GPU of each worker, "" on the CPU, from `devices.worker_places`."""

    def __init__(self, options: RunOptions, places: Sequence[str], tries: int = 1) -> None:
        self.places: Sequence[str] = places
        self._options, self._tries = options, tries
        self._context = multiprocessing.get_context("forkserver")
        self._places, self._running = deque(places), dict[ForkServerProcess, _Seat]()
        self._stopping = False

    def has_room(self) -> bool:
        return bool(self._places)

    def start(self, cell: Experiment, run: RunDirectory) -> None:
        """Start a cell.  Workers are forked from a process that has imported the `preload` of the first cell."""
        self._context.set_forkserver_preload(["retrieval_gap.runs.executors.cells", *cell.preload])
        self._launch(cell, run, 1, self._places.popleft())

    def wait(self, seconds: float, stop: threading.Event) -> list[Ended]:
        wait([process.sentinel for process in self._running], timeout=seconds)
        ended = []
        for process in [p for p in self._running if not p.is_alive()]:
            seat = self._running.pop(process)
            end, reason = _end(process, seat.told)
            words = _last_words(seat.run)
            if words and end is End.FAILED and reason.startswith(SILENT):
                reason += f"; its last words: {words}"
            # A worker that a SIGTERM from elsewhere stopped is started again too: the sweep goes on.
            again = end in (End.FAILED, End.STOPPED) and not self._stopping and not stop.is_set()
            if again and seat.nth < self._tries:
                label, tries = seat.cell.label(), self._tries
                _log.warning("%s: attempt %d of %d failed, retrying: %s", label, seat.nth, tries, reason)
                self._launch(seat.cell, seat.run, seat.nth + 1, seat.place)
                continue
            self._places.append(seat.place)
            ended.append(Ended(seat.cell, end, reason))
        return ended

    def stop(self) -> None:
        self._stopping = True
        terminate(self._running)

    def _launch(self, cell: Experiment, run: RunDirectory, nth: int, place: str) -> None:
        told, tell = multiprocessing.Pipe(duplex=False)
        process = _start(self._context, cell, run, self._options, place, tell)
        tell.close()  # only the worker's copy stays open, so that the pipe ends with it
        self._running[process] = _Seat(cell, run, nth, place, told)


def _start(
    context: ForkServerContext,
    cell: Experiment,
    run: RunDirectory,
    options: RunOptions,
    place: str,
    tell: Connection,
) -> ForkServerProcess:
    process = context.Process(target=_work, args=(cell, run, options, place, tell), name=cell.label())
    start_worker(process, cell)
    return process


def _work(cell: Experiment, run: RunDirectory, options: RunOptions, place: str, tell: Connection) -> None:
    """The main function of a worker; its exit status is its `End`.  SIGTERM outside training ends it immediately."""
    follow_driver()
    os.environ["CUDA_VISIBLE_DEVICES"] = place  # before CUDA is first used; "" hides every GPU
    _keep_errors_of(run)
    here = replace(options, device="cuda" if place else "cpu", threads=options.threads or 1, patience=PATIENCE_SECONDS)
    end, reason = work_on(cell, run, here)
    with contextlib.suppress(BrokenPipeError):  # the driver is gone
        tell.send_bytes(reason.encode())
    if end is not End.DONE:
        os._exit(end)


def _keep_errors_of(run: RunDirectory) -> None:
    """Redirect this worker's standard error, with a library's last words, to the run's own file."""
    with contextlib.suppress(OSError):
        run.path.mkdir(parents=True, exist_ok=True)
        opened = os.open(run.stderr, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o666)
        os.dup2(opened, 2)
        os.close(opened)


def _last_words(run: RunDirectory) -> str:
    """The last line that a worker wrote to standard error, or ""; the end of that output is also printed."""
    try:
        text = run.stderr.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
    if text:
        print(text[-LONGEST_REASON:], file=sys.stderr, flush=True)
    return text.rpartition("\n")[2][:LONGEST_REASON]


def _end(process: ForkServerProcess, told: Connection) -> tuple[End, str]:
    """How a process ended, and the reason."""
    with told:
        if process.exitcode == -signal.SIGTERM:
            return End.STOPPED, STOPPED
        if process.exitcode not in tuple(End):
            return End.FAILED, f"{SILENT} {process.exitcode}"
        try:
            return End(process.exitcode), told.recv_bytes().decode()
        except EOFError:
            return End(process.exitcode), f"{SILENT} {process.exitcode} and no word"
