"""Executors: where the cells of a sweep run.  `cells` is the code that they share.

local: a pool of processes on this machine.  ray: tasks of Ray on this machine or a cluster.
"""

import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from retrieval_gap.machine.devices import DeviceName, visible_gpus, worker_places
from retrieval_gap.machine.environment import usable_cores
from retrieval_gap.machine.errors import UsageError
from retrieval_gap.runs.executors.cells import Executor
from retrieval_gap.runs.executors.local import LocalPool
from retrieval_gap.runs.experiment import RunOptions

ExecutorName = Literal["local", "ray"]
TRIES = 3
MOST = 4096


@dataclass(frozen=True, kw_only=True)
class ExecutorOptions:
    """Where cells run.

    address: of a Ray cluster, HOST:PORT or "auto"; "" is RAY_ADDRESS, or a Ray on this machine.
    workers, per_gpu: processes on the CPU, and processes that share each GPU; 0 means one per core, one per GPU.
    tries: how often a cell may fail before it is set aside.
    Raises UsageError for a value out of range, for an option of another executor, and if Ray is not installed.
    """

    name: ExecutorName = "local"
    address: str = ""
    device: DeviceName = "cpu"
    workers: int = 0
    per_gpu: int = 0
    tries: int = TRIES

    def __post_init__(self) -> None:
        if self.workers < 0 or self.per_gpu < 0:
            raise UsageError("--workers and --per-gpu are 0 or more")
        if max(self.workers, self.per_gpu, self.tries) > MOST:
            raise UsageError(f"--workers, --per-gpu and --tries are {MOST} at the most")
        if self.tries < 1:
            raise UsageError("--tries is 1 or more")
        if self.name == "local" and self.address:
            raise UsageError("--address is of a Ray cluster: it goes with --executor ray")
        if self.name == "ray" and importlib.util.find_spec("ray") is None:
            raise UsageError(
                "--executor ray needs Ray, which is not installed: pip install 'retrieval-gap[ray]' (--executor local"
                " needs nothing)"
            )
        if self.address and self.workers:
            raise UsageError("--workers is for this machine; a cluster at --address has as many as it has processors")

    def places_here(self) -> list[str]:
        """The places of workers on this machine, from `devices.worker_places`; with Ray, too, of this machine alone."""
        gpus = visible_gpus(self.device, os.environ.get("CUDA_VISIBLE_DEVICES"))
        return worker_places(gpus, workers=self.workers, per_gpu=self.per_gpu, cores=usable_cores())


@contextmanager
def open_executor(options: ExecutorOptions, run: RunOptions) -> Iterator[Executor]:
    """Open an executor, whose workers are gone at the end.

    Raises UsageError for resources that the machine or the cluster lacks, RunError if Ray cannot be reached.
    """
    if options.name == "local":
        yield LocalPool(run, options.places_here(), options.tries)
        return
    from retrieval_gap.runs.executors.ray_tasks import RayTasks

    tasks = RayTasks(run, options)
    try:
        yield tasks
    finally:
        tasks.close()
