"""Requests to stop: by Ctrl-C, by a batch system, by the parent process."""

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
    """Within the context, an event that SIGINT, SIGTERM or SIGUSR1 sets; a second Ctrl-C has its previous effect.

    A second SIGTERM has none: a batch system sends it to all processes, and a driver, torchrun or `timeout` passes it
    on while they still write what they are to save.  Outside the main thread, where Python delivers no signals, the
    event is never set.
    """
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return
    before = {s: signal.getsignal(s) for s in SIGNALS}

    def on_signal(number: int, _frame: object) -> None:
        event.set()
        if number == signal.SIGINT:
            signal.signal(number, before[signal.SIGINT])

    for number in before:
        signal.signal(number, on_signal)
    try:
        yield event
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
