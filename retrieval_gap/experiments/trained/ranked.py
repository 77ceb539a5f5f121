"""One run by several processes that share every batch: started here, or by torchrun.

    retrieval-gap train ... --ranks 2
    torchrun --nproc-per-node 2 -m retrieval_gap.cli train ...

The first is for one machine, and reports in one line how a run ended; torchrun adds its own report, and can span
machines.  On GPUs each rank has its own.
"""

import multiprocessing
import os
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess
from typing import Any

import torch
import torch.distributed as dist

from retrieval_gap.experiments.trained.alone import run_one
from retrieval_gap.experiments.trained.config import RunConfig
from retrieval_gap.experiments.trained.run import follow
from retrieval_gap.kernels.selective_scan import use_backend
from retrieval_gap.machine.devices import choose_device
from retrieval_gap.machine.environment import usable_cores
from retrieval_gap.machine.errors import RunError, UsageError, fault
from retrieval_gap.machine.stopping import StoppedError, stop_requested
from retrieval_gap.runs.executors.cells import POLL_SECONDS, End
from retrieval_gap.runs.executors.processes import follow_driver, start_worker, terminate
from retrieval_gap.runs.experiment import RunOptions
from retrieval_gap.tasks.api import TaskError
from retrieval_gap.training.config import check_precision
from retrieval_gap.training.loop import DivergedError
from retrieval_gap.training.ranks import LostRankError, Place, Ranks, joined, place_of_environment

MAX_RANKS = 1024
END_SECONDS = 20.0  # for the other ranks to end after one failed
HOST = "127.0.0.1"


@dataclass(frozen=True, kw_only=True)
class RankedRun:
    """The run as it is sent to every rank."""

    config: RunConfig
    options: RunOptions

    @property
    def device(self) -> torch.device:
        return choose_device(self.options.device)


def run_ranked(config: RunConfig, options: RunOptions, *, ranks: int) -> dict[str, Any] | None:
    """Train by `ranks` processes started here, or as a rank of torchrun; return the result row, None on a rank that
    does not lead.

    Raises UsageError for an invalid number of ranks, RunError if the run or any of its ranks fails.
    """
    if not 1 <= ranks <= MAX_RANKS:
        raise UsageError(f"--ranks {ranks} is out of range: expected 1 to {MAX_RANKS}")
    job = RankedRun(config=config, options=options)
    place = place_of_environment()
    if place is not None and place.count > 1:
        if ranks > 1:
            raise UsageError(
                f"--ranks {ranks} starts ranks, and torchrun has started {place.count}: use one of the two"
            )
        return _under_torchrun(job, place)
    if ranks == 1:
        return run_one(config, options)
    check(job, Place(count=ranks, local_count=ranks))
    return _launch(job, ranks)


def take_part(job: RankedRun, place: Place, store: dist.Store | None = None) -> dict[str, Any] | None:
    """A rank's whole part in a run; returns the result row on rank 0, else None."""
    device = check(job, place)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    with joined(place, device, store) as ranks:
        if ranks.leads:
            return run_one(job.config, job.options, ranks=ranks)
        torch.set_num_threads(job.options.threads or max(1, usable_cores() // place.local_count))
        with use_backend(job.options.scan_backend):
            follow(job.config, device, ranks)
    return None


def check(job: RankedRun, place: Place) -> torch.device:
    """The device of a rank.  Raises UsageError, on all ranks and before they connect, for an impossible run."""
    job.config.validate()
    check_precision(job.config.precision, job.device)
    Ranks(place).share(job.config.batch_size)
    return place.device(job.device)


def _under_torchrun(job: RankedRun, place: Place) -> dict[str, Any] | None:
    """Raises what `take_part` does; of the errors listed here only on rank 0, while other ranks exit silently."""
    try:
        return take_part(job, place)
    except (UsageError, TaskError, DivergedError, StoppedError, LostRankError) as error:
        if place.rank == 0:
            raise
        os._exit(2 if isinstance(error, UsageError | TaskError) else 1)


@dataclass(frozen=True)
class _Rank:
    """A started process, and the end of a pipe that reports how it ended."""

    number: int
    process: ForkServerProcess
    told: Connection

    @property
    def failed(self) -> bool:
        return self.process.exitcode not in (None, End.DONE, End.STOPPED)

    def message(self) -> tuple[str, Any]:
        """The kind of its end, "" if it sent none, and its row or reason."""
        with suppress(EOFError):
            if self.told.poll():
                told: tuple[str, Any] = self.told.recv()
                return told
        return "", None


def _launch(job: RankedRun, count: int) -> dict[str, Any]:
    store = dist.TCPStore(HOST, 0, is_master=True, wait_for_workers=False)
    ranks = list[_Rank]()
    with stop_requested() as stop:
        try:
            for r in range(count):
                ranks.append(_start(job, Place(rank=r, count=count, local_rank=r, local_count=count), store.port))
            asked = False
            while any(rank.process.is_alive() for rank in ranks) and not any(rank.failed for rank in ranks):
                if stop.is_set() and not asked:
                    asked = True
                    terminate(rank.process for rank in ranks)
                wait([rank.process.sentinel for rank in ranks if rank.process.is_alive()], timeout=POLL_SECONDS)
        except KeyboardInterrupt:
            terminate(rank.process for rank in ranks)
            raise
        finally:
            fallen = [rank for rank in ranks if (rank.process.exitcode or 0) < 0]
            _end([rank.process for rank in ranks])
    return _outcome(ranks, fallen, stopped=stop.is_set())


def _start(job: RankedRun, place: Place, port: int) -> _Rank:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["retrieval_gap.experiments.trained.run"])
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(job, place, port, theirs), name=f"rank {place.rank}")
    start_worker(process, job)
    theirs.close()
    return _Rank(place.rank, process, ours)


def _work(job: RankedRun, place: Place, port: int, told: Connection) -> None:
    """The work of a rank's process; reports through the pipe how it ended."""
    follow_driver()
    try:
        _tell(told, ("done", take_part(job, place, dist.TCPStore(HOST, port, is_master=False))))
    except StoppedError as error:
        _tell(told, ("stopped", str(error)))
        os._exit(End.STOPPED)
    except LostRankError as error:
        _tell(told, ("lost", str(error)))
        os._exit(End.FAILED)
    except RunError as error:
        _tell(told, ("failed", str(error)))
        os._exit(End.FAILED)
    except (UsageError, TaskError) as error:
        _tell(told, ("wrong", str(error)))
        os._exit(End.FAILED)
    except Exception as error:
        _tell(told, ("failed", f"rank {place.rank}: {fault(error)}"))
        os._exit(End.FAILED)


def _tell(driver: Connection, told: tuple[str, Any]) -> None:
    with suppress(BrokenPipeError):  # the driver is gone
        driver.send(told)


def _end(processes: Sequence[ForkServerProcess]) -> None:
    """End the remaining processes: wait until they notice that one has gone, then terminate, then kill."""
    deadline = time.monotonic() + END_SECONDS
    for process in processes:
        process.join(max(0.0, deadline - time.monotonic()))
    terminate(processes)
    for process in processes:
        process.join(max(0.0, deadline + END_SECONDS - time.monotonic()))
        process.kill()
        process.join()


def _outcome(ranks: Sequence[_Rank], fallen: Sequence[_Rank], *, stopped: bool) -> dict[str, Any]:
    """The row.  If there is none, raises the error of a rank that failed, else how the run ended."""
    reasons = dict(reversed([rank.message() for rank in ranks]))  # of each kind, the lowest rank's
    if reasons.get("done") is not None:
        return dict(reasons["done"])
    if "wrong" in reasons:
        raise UsageError(reasons["wrong"])
    if fallen and not stopped:  # what the others say follows from it
        name = signal.Signals(-(fallen[0].process.exitcode or 0)).name
        raise LostRankError(
            f"rank {fallen[0].number} of {len(ranks)} was ended by {name}, and the others with it;"
            " the same command resumes from the last checkpoint"
        )
    if "failed" in reasons:
        raise RunError(reasons["failed"])
    if stopped or "stopped" in reasons:
        raise StoppedError(reasons.get("stopped", "stopped; the same command resumes"))
    raise RunError(reasons.get("lost", "the ranks ended without a result; the same command resumes"))
