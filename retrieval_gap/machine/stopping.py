"""Requests to stop: by Ctrl-C, by a batch system, by the parent process."""

import multiprocessing
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from retrieval_gap.machine.errors import RunError

# Slurm sends SIGUSR1 before it ends a job.
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


class StoppedError(RunError):
    """A signal stopped the work; what is needed to resume is saved."""


@contextmanager
def stop_requested() -> Iterator[threading.Event]:
    """Within the context, an event that SIGINT, SIGTERM or SIGUSR1 sets; a second signal of the same kind has its
    previous effect.

    In a worker process a second one has no effect: a batch system's SIGTERM to all processes is followed by the
    driver's, while the worker still writes what it is to save.
    Outside the main thread, where Python delivers no signals, the event is never set.
    """
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return
    before = {s: signal.getsignal(s) for s in SIGNALS}

    def on_signal(number: int, _frame: object) -> None:
        event.set()
        if multiprocessing.parent_process() is None:
            signal.signal(number, before[signal.Signals(number)])

    for number in before:
        signal.signal(number, on_signal)
    try:
        yield event
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
