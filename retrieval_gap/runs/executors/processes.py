"""The worker processes of a driver: they stop when it does or tells them to.

A terminal sends Ctrl-C to every process of a command, a batch system its signals to every process of a job.  The driver
alone obeys those: the process that workers are forked from would end with them, and workers that have just begun.
"""

import contextlib
import multiprocessing
import os
import pickle
import signal
import sys
import tempfile
import threading
from collections.abc import Iterable, Iterator
from multiprocessing import resource_tracker, util
from multiprocessing.context import ForkServerProcess
from types import ModuleType

from retrieval_gap.machine.errors import UsageError
from retrieval_gap.machine.stopping import SIGNALS

# A socket's address has at most 107 bytes, and multiprocessing adds about 40 to its folder's name.
LONGEST_FOLDER = 60
SHORT_FOLDERS = ("/tmp", "/var/tmp", "/dev/shm")


def use_short_sockets() -> None:
    """Make multiprocessing put its sockets in a folder with a short name: TMPDIR on batch systems is often too long.

    Call before the first process is started.  Raises UsageError, naming TMPDIR, if no such folder can be written.
    """
    given = tempfile.gettempdir()
    if len(given) <= LONGEST_FOLDER:
        return
    tempfile.tempdir = short_folder()
    try:
        util.get_temp_dir()  # makes the folder, and remembers it
    finally:
        tempfile.tempdir = given


def short_folder() -> str:
    """A folder for sockets.  Raises UsageError, naming TMPDIR, if none can be written."""
    for folder in SHORT_FOLDERS:
        if os.access(folder, os.W_OK | os.X_OK):
            return folder
    raise UsageError(f"TMPDIR ({tempfile.gettempdir()}) is too long for sockets; set it to a folder with a short name")


def start_worker(process: ForkServerProcess, carried: object) -> None:
    """Start a worker, whose first call is `follow_driver`.  It ignores Ctrl-C and SIGUSR1.

    carried: what the process gets from the caller; only if this needs `__main__` does it run the caller's script first.
    """
    use_short_sockets()
    with _away_from_the_folder():
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            resource_tracker.ensure_running()  # else the first worker's start would start it, which unblocks signals
            signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
            with contextlib.nullcontext() if b"__main__" in pickle.dumps(carried) else _without_script():
                process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)


@contextlib.contextmanager
def _away_from_the_folder() -> Iterator[None]:
    """Keep interpreters that start meanwhile from importing out of the current folder first: a user's `random.py` there
    would be taken for Python's own."""
    before = os.environ.get("PYTHONSAFEPATH")
    os.environ["PYTHONSAFEPATH"] = "1"
    try:
        yield
    finally:
        os.environ.pop("PYTHONSAFEPATH")
        os.environ.update({} if before is None else {"PYTHONSAFEPATH": before})


@contextlib.contextmanager
def _without_script() -> Iterator[None]:
    """Keep processes that start meanwhile from running the caller's script, as multiprocessing would: it may come from
    standard input, or itself start processes outside `if __name__ == "__main__":`."""
    script = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = script


def follow_driver() -> None:
    """Obey SIGTERM, which `terminate` sends, from now on; stop this worker also when the driver ends."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    threading.Thread(target=_stop_with_driver, name="driver", daemon=True).start()


def _stop_with_driver() -> None:
    """Wait until the driver ends, for whatever reason (a pipe from it closes), then stop this worker."""
    driver = multiprocessing.parent_process()
    if driver is not None:
        driver.join()
        os.kill(os.getpid(), signal.SIGTERM)


def terminate(running: Iterable[ForkServerProcess]) -> None:
    for process in running:
        if process.pid is not None and process.is_alive():
            os.kill(process.pid, signal.SIGTERM)
