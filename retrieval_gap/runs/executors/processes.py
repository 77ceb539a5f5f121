"""Processes of a driver's own: they stop when it does, and Ctrl-C reaches them through it alone."""

import multiprocessing
import os
import signal
from collections.abc import Iterable
from multiprocessing import resource_tracker
from multiprocessing.context import ForkServerProcess


def start_deaf(process: ForkServerProcess) -> None:
    """A terminal sends Ctrl-C to the workers too, but it is the driver that stops them: they are born deaf to it."""
    resource_tracker.ensure_running()  # its start, else a part of the first worker's, unblocks SIGINT
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def stop_with_driver() -> None:
    """Waits for the driver's end, whatever the cause (a pipe from it closes), then stops this worker."""
    driver = multiprocessing.parent_process()
    if driver is not None:
        driver.join()
        os.kill(os.getpid(), signal.SIGTERM)


def terminate(running: Iterable[ForkServerProcess]) -> None:
    for process in running:
        if process.pid is not None and process.is_alive():
            os.kill(process.pid, signal.SIGTERM)
