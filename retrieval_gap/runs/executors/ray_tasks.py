"""Cells as Ray tasks: on this machine, or on a cluster whose nodes see the same folder of runs.

Ray queues the tasks, gives each a processor or a share of a GPU, and starts a task again if it failed or its process
or node died; the new try resumes from the run's checkpoint.
"""

import os
import socket
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # read when Ray is imported
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")

import ray
from ray.exceptions import RayError, RayTaskError, TaskCancelledError

from retrieval_gap.machine.devices import worker_places
from retrieval_gap.machine.environment import usable_cores
from retrieval_gap.machine.errors import RunError, UsageError
from retrieval_gap.machine.files import make_folder
from retrieval_gap.runs.directory import RunDirectory
from retrieval_gap.runs.executors.cells import LONGEST_REASON, PATIENCE_SECONDS, STOPPED, End, Ended, work_on
from retrieval_gap.runs.executors.processes import short_folder
from retrieval_gap.runs.experiment import Experiment, RunOptions

if TYPE_CHECKING:
    from retrieval_gap.runs.executors import ExecutorOptions

OBJECT_STORE_BYTES = 100 << 20  # nothing large goes through Ray
LONGEST_RAY_FOLDER = 40  # Ray adds more to a socket's address than multiprocessing does
SHARE_UNIT = 10_000  # Ray counts in ten thousandths of a GPU
LISTEN_SECONDS = 10.0
FOLDER_SECONDS = 10.0  # until a new folder must be visible on every node


class TryFailedError(Exception):
    """A try at a cell failed, but another may succeed.  Ray starts the task again."""


class RayTasks:
    """An `Executor`.  All cells are submitted to Ray together; it starts them in this order.

    Of the executor's options, address is that of a running cluster; "" is RAY_ADDRESS, or else a Ray on this machine,
    which ends with `close`.  workers: processors of that Ray.  per_gpu: cells that share each GPU.
    Raises UsageError for a device that the cluster lacks, RunError if it cannot be reached.
    """

    def __init__(self, run: RunOptions, options: "ExecutorOptions") -> None:
        # Ray's processes start in another folder.
        self._run = replace(run, runs_dir=run.runs_dir.resolve(), threads=run.threads or 1, patience=PATIENCE_SECONDS)
        self._running, self._stopping = dict[Any, Experiment](), False
        _connect(options.address or os.environ.get("RAY_ADDRESS", ""), options.workers)
        try:
            found = ray.cluster_resources()
            gpus = [str(i) for i in range(int(found.get("GPU", 0)))] if options.device != "cpu" else []
            if options.device == "cuda" and not gpus:
                raise UsageError("device cuda is not here: the Ray cluster has no GPU")
            cores = int(found.get("CPU", 0))
            self.places: Sequence[str] = worker_places(gpus, workers=0, per_gpu=options.per_gpu, cores=cores)
            if not self.places or not cores:
                raise UsageError("the Ray cluster has no processors to run on")
        except BaseException:
            self.close()
            raise
        self._run = replace(self._run, device="cuda" if gpus else "cpu")
        asked: dict[str, Any] = {
            "num_cpus": 1,
            "num_gpus": SHARE_UNIT // (options.per_gpu or 1) / SHARE_UNIT if gpus else 0,
            "max_calls": 1,  # one process per try, with nothing left over from another
            "max_retries": options.tries - 1,
            "retry_exceptions": [TryFailedError],
        }
        self._task = ray.remote(**asked)(_work)

    def has_room(self) -> bool:
        return not self._stopping

    def start(self, cell: Experiment, run: RunDirectory) -> None:
        make_folder(run.path)
        self._running[self._task.remote(cell, run.path.name, self._run)] = cell

    def wait(self, seconds: float, stop: threading.Event) -> list[Ended]:
        if not self._running:
            time.sleep(seconds)
            return []
        try:
            ready, _ = ray.wait(list(self._running), timeout=seconds)
            if ready:  # also collect the others that have ended
                ready, _ = ray.wait(list(self._running), num_returns=len(self._running), timeout=0)
        except RayError as error:
            raise RunError(f"Ray is gone ({_line(error)}); the same command resumes") from error
        return [Ended(self._running.pop(ref), *_end(ref)) for ref in ready]

    def stop(self) -> None:
        """Ray interrupts a running task as Ctrl-C would, and never starts a waiting one."""
        if not self._stopping:
            self._stopping = True
            for ref in self._running:
                ray.cancel(ref, force=False)

    def close(self) -> None:
        ray.shutdown()


def _connect(address: str, workers: int) -> None:
    """Connect to Ray.  Raises RunError if there is no cluster at the address, or it has another version."""
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    try:
        if address and address != "local":
            _check_listens(address)
            ray.init(address=address, **quiet)
        else:
            ray.init(
                address="local",
                num_cpus=workers or usable_cores(),
                include_dashboard=False,
                object_store_memory=OBJECT_STORE_BYTES,
                _temp_dir=f"{short_folder()}/ray" if len(tempfile.gettempdir()) > LONGEST_RAY_FOLDER else None,
                **quiet,
            )
    except (RuntimeError, ValueError, OverflowError, OSError) as error:
        where = f"no Ray cluster can be reached at {address}" if address else "Ray cannot be started here"
        raise RunError(f"{where}: {_line(error)}") from error


def _check_listens(address: str) -> None:
    """Raise ValueError unless the address is HOST:PORT or "auto", OSError if nothing listens there: Ray would try for
    minutes and print each try."""
    if address == "auto":
        return
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdigit() or "/" in host:
        raise ValueError("expected HOST:PORT of its head, such as 10.0.0.1:6379, or auto")
    if host in ("localhost", "127.0.0.1"):
        host = ray.util.get_node_ip_address()  # Ray then looks for it there
    socket.create_connection((host, int(port)), timeout=LISTEN_SECONDS).close()


def _work(cell: Experiment, name: str, options: RunOptions) -> tuple[int, str]:
    """A try, in a Ray process on any node: how it ended, and the reason.  Raises TryFailedError if another try may
    succeed."""
    run = RunDirectory(options.runs_dir / name)
    deadline = time.monotonic() + FOLDER_SECONDS
    while not run.path.is_dir():
        if time.monotonic() > deadline:
            unseen = f"node {ray.util.get_node_ip_address()} does not see {run.path}"
            return End.HOPELESS, f"{unseen}; every node has to see the same --runs-dir"
        time.sleep(0.1)
    end, reason = work_on(cell, run, options)
    if end is End.FAILED:
        raise TryFailedError(reason)
    return end, reason


def _end(ref: Any) -> tuple[End, str]:
    """How a task ended.  Ray reports a process or node that died."""
    try:
        end, reason = ray.get(ref)
    except TaskCancelledError:
        return End.STOPPED, STOPPED
    except RayTaskError as error:
        return End.FAILED, _line(error.cause)
    except RayError as error:
        return End.FAILED, f"{type(error).__name__}: {_line(error)}"
    return End(end), reason


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:LONGEST_REASON]
