"""Executors: where the cells of a sweep run.  `cells` is what they have in common, `alone` runs a single cell here.

local: a pool of processes on this machine.  ray: tasks of Ray on this machine or a cluster.
"""

import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from retrieval_gap.machine.devices import DeviceName, visible_gpus, worker_places
from retrieval_gap.machine.environment import usable_cores
from retrieval_gap.machine.errors import UsageError
from retrieval_gap.runs.executors.cells import CellOptions, Executor
from retrieval_gap.runs.executors.local import LocalPool

ExecutorName = Literal["local", "ray"]


@contextmanager
def open_executor(
    name: ExecutorName, options: CellOptions, *, device: DeviceName, workers: int, per_gpu: int, address: str
) -> Iterator[Executor]:
    """An executor, whose workers are gone at the end.

    Raises UsageError for what the machine or the cluster does not have, RunError where Ray cannot be reached.
    """
    if name == "local":
        yield LocalPool(options, places_here(device, workers=workers, per_gpu=per_gpu))
        return
    from retrieval_gap.runs.executors.ray_tasks import RayTasks

    tasks = RayTasks(options, device=device, workers=workers, per_gpu=per_gpu, address=address)
    try:
        yield tasks
    finally:
        tasks.close()


def check_executor(name: ExecutorName, address: str, workers: int) -> None:
    """Raises UsageError where an executor is not installed, or an option is another's."""
    if name == "local" and address:
        raise UsageError("--address is of a Ray cluster: it goes with --executor ray")
    if name == "ray" and importlib.util.find_spec("ray") is None:
        raise UsageError(
            "--executor ray needs Ray, which is not installed: pip install 'retrieval-gap[ray]' (--executor local"
            " needs nothing)"
        )
    if address and workers:
        raise UsageError("--workers is for this machine; a cluster at --address has as many as it has processors")


def places_here(device: DeviceName, *, workers: int, per_gpu: int) -> list[str]:
    """The places of workers on this machine, as `devices.worker_places` says."""
    gpus = visible_gpus(device, os.environ.get("CUDA_VISIBLE_DEVICES"))
    return worker_places(gpus, workers=workers, per_gpu=per_gpu, cores=usable_cores())
