"""Batches depend on the number of their step alone and come in order; on a GPU they are padded to a few lengths."""

from itertools import islice

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from retrieval_gap.machine.devices import CPU
from retrieval_gap.machine.errors import RunError
from retrieval_gap.tasks.api import TaskConfig
from retrieval_gap.tasks.registry import load_task
from retrieval_gap.training.batches import ALIGNMENT, LENGTHS, pad, padded_length, padded_lengths, training_batches
from retrieval_gap.training.config import TrainingConfig

TASK = load_task("istree")(TaskConfig(n=8, mode="cot"))
CONFIG = TrainingConfig(samples=103, batch_size=5, warmup_samples=10)


@pytest.mark.parametrize("first_step", [0, 1, 17, 19])
def test_batches_come_in_order_from_any_step_on(first_step: int) -> None:
    drawn = list(training_batches(TASK, CONFIG, first_step, CPU))
    assert [batch.step for batch in drawn] == list(range(first_step, 20))
    for batch in drawn:
        gold = TASK.sample(np.arange(5 * batch.step, 5 * batch.step + 5))
        np.testing.assert_array_equal(batch.tokens_BxL, gold.tokens_BxL)
        np.testing.assert_array_equal(batch.loss_mask_BxL, gold.loss_mask_BxL)
        assert batch.tokens == gold.length_B.sum()


def test_a_finished_run_has_no_batches_left() -> None:
    assert not list(training_batches(TASK, CONFIG, 20, CPU))


@given(longest=st.integers(2, 6000))
def test_a_few_lengths_hold_every_sample_and_waste_little(longest: int) -> None:
    lengths = padded_lengths(longest)
    assert 1 <= len(lengths) <= LENGTHS
    assert all((length - 1) % ALIGNMENT == 0 for length in lengths)
    assert longest <= max(lengths) <= longest + ALIGNMENT
    for length in {1, longest // 3 + 1, longest // 2 + 1, longest}:
        padded = padded_length(length, lengths)
        assert length <= padded <= length + -(-longest // LENGTHS) + ALIGNMENT


def test_a_sample_longer_than_its_task_allows_is_an_error() -> None:
    with pytest.raises(RunError, match="a trace of 26 tokens is longer than max_length"):
        padded_length(26, (9, 17, 25))


@pytest.mark.parametrize("length", [3, 30, 47, 60])
def test_padding_adds_only_pad_tokens_that_are_not_graded(length: int) -> None:
    (batch,) = islice(training_batches(TASK, CONFIG, 0, CPU), 1)
    tokens_BxL, mask_BxL = batch.tokens_BxL.numpy(), batch.loss_mask_BxL.numpy()
    for array, padded in ((tokens_BxL, pad(tokens_BxL, length)), (mask_BxL, pad(mask_BxL, length))):
        kept = min(length, array.shape[1])
        assert padded.shape == (5, length)
        assert padded.dtype == torch.from_numpy(array).dtype
        np.testing.assert_array_equal(padded[:, :kept], array[:, :kept])
        assert not padded[:, kept:].any()
