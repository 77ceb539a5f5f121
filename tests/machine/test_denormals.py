"""Numbers too small for full precision are 0 inside the context and keep their value outside it."""

import pytest
import torch

from retrieval_gap.machine.denormals import flushed_denormals

DENORMAL = 1e-39


@pytest.fixture(autouse=True)
def _can() -> None:
    if not torch.set_flush_denormal(False):
        pytest.skip("this processor cannot take denormal numbers for 0")


def _halved() -> float:
    return float((torch.full((64,), 2 * DENORMAL) / 2).sum())


def test_denormals_are_zero_inside_the_context_alone() -> None:
    assert _halved() > 0
    with flushed_denormals():
        assert _halved() == 0
    assert _halved() > 0


def test_a_context_inside_another_leaves_the_outer_one_as_it_was() -> None:
    with flushed_denormals():
        with flushed_denormals():
            pass
        assert _halved() == 0


def test_an_error_inside_leaves_the_thread_as_it_was() -> None:
    with pytest.raises(KeyError), flushed_denormals():
        raise KeyError
    assert _halved() > 0
