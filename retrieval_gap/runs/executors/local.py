"""A pool of processes on this machine.

A worker is one process for one try at one cell, with one thread: two cells on two cores finish sooner than one cell on
both, and a worker that is killed takes one try with it.  On GPUs, a worker sees one of them, which others may see too.
"""

import logging
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerContext, ForkServerProcess
from typing import NamedTuple

import torch

from retrieval_gap.experiments.trained.config import RunConfig
from retrieval_gap.machine.devices import CPU
from retrieval_gap.runs.executors.cells import STOPPED, CellOptions, End, Ended, work_on
from retrieval_gap.runs.executors.processes import start_deaf, stop_with_driver, terminate

_log = logging.getLogger(__name__)


class _Seat(NamedTuple):
    """What a worker works on: the cell, the try (1 is the first), where, and the pipe that it tells its reason by."""

    config: RunConfig
    nth: int
    place: str
    told: Connection


class LocalPool:
    """An `Executor`.  places: the GPU of each worker, "" on the CPU, as `devices.worker_places` says."""

    def __init__(self, options: CellOptions, places: Sequence[str]) -> None:
        self.places: Sequence[str] = places
        self._options = options
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["retrieval_gap.runs.executors.cells"])
        self._places, self._running = deque(places), dict[ForkServerProcess, _Seat]()
        self._stopping = False

    def has_room(self) -> bool:
        return bool(self._places)

    def start(self, config: RunConfig) -> None:
        self._launch(config, 1, self._places.popleft())

    def wait(self, seconds: float) -> list[Ended]:
        wait([process.sentinel for process in self._running], timeout=seconds)
        ended = []
        for process in [p for p in self._running if not p.is_alive()]:
            seat = self._running.pop(process)
            end, reason = _end(process, seat.told)
            if end is End.FAILED and seat.nth < self._options.tries and not self._stopping:
                label, tries = seat.config.label(), self._options.tries
                _log.warning("%s: try %d of %d failed, it is tried again: %s", label, seat.nth, tries, reason)
                self._launch(seat.config, seat.nth + 1, seat.place)
                continue
            self._places.append(seat.place)
            ended.append(Ended(seat.config, end, reason))
        return ended

    def stop(self) -> None:
        self._stopping = True
        terminate(self._running)

    def _launch(self, config: RunConfig, nth: int, place: str) -> None:
        told, tell = multiprocessing.Pipe(duplex=False)
        process = _start(self._context, config, self._options, place, tell)
        tell.close()  # the worker's own is left, so that the pipe ends with it
        self._running[process] = _Seat(config, nth, place, told)


def _start(
    context: ForkServerContext, config: RunConfig, options: CellOptions, place: str, tell: Connection
) -> ForkServerProcess:
    process = context.Process(target=_work, args=(config, options, place, tell), name=config.label())
    start_deaf(process)
    return process


def _work(config: RunConfig, options: CellOptions, place: str, tell: Connection) -> None:
    """A worker's whole life; its exit status is its `End`.  SIGTERM outside training ends it at once."""
    os.environ["CUDA_VISIBLE_DEVICES"] = place  # before CUDA is first asked for; "" hides every GPU
    threading.Thread(target=stop_with_driver, name="driver", daemon=True).start()
    end, reason = work_on(config, options, torch.device("cuda") if place else CPU)
    tell.send_bytes(reason.encode())
    if end is not End.DONE:
        os._exit(end)


def _end(process: ForkServerProcess, told: Connection) -> tuple[End, str]:
    """How a process that has ended did, and the reason."""
    with told:
        if process.exitcode == -signal.SIGTERM:
            return End.STOPPED, STOPPED
        if process.exitcode not in tuple(End):
            return End.FAILED, f"its process ended with status {process.exitcode}"
        try:
            return End(process.exitcode), told.recv_bytes().decode()
        except EOFError:
            return End(process.exitcode), f"its process ended with status {process.exitcode} and no word"
