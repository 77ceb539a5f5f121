"""The first signal asks a run to stop, and a second Ctrl-C stops it at once."""

import os
import signal
from collections.abc import Iterator

import pytest

from retrieval_gap.machine.stopping import stop_requested


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_ctrl_c_and_the_signals_of_batch_systems_all_ask_to_stop(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with stop_requested() as stop:
        assert not stop.is_set()
        os.kill(os.getpid(), number)
        assert stop.is_set()
    assert signal.getsignal(number) is before


@pytest.fixture
def ctrl_c_interrupts() -> Iterator[None]:
    """Ctrl-C interrupts, as in a terminal: a process that was started in the background ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c_interrupts")
def test_a_second_ctrl_c_acts_at_once() -> None:
    def press_again() -> None:
        os.kill(os.getpid(), signal.SIGINT)

    with stop_requested() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.is_set()
        with pytest.raises(KeyboardInterrupt):
            press_again()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_batch_systems_signal_that_comes_twice_leaves_the_time_to_save(number: signal.Signals) -> None:
    with stop_requested() as stop:
        os.kill(os.getpid(), number)
        os.kill(os.getpid(), number)  # else the end of this process
        assert stop.is_set()
