"""A GPU's training step gives the losses and weights of a CPU's, whatever the padding and the memory."""

import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from retrieval_gap.machine.devices import CPU
from retrieval_gap.machine.errors import RunError, UsageError
from retrieval_gap.models import SequenceModel
from retrieval_gap.tasks.api import Task, TaskConfig
from retrieval_gap.tasks.registry import load_task
from retrieval_gap.training import loop as training
from retrieval_gap.training.batches import TrainingBatch, pad, training_batches
from retrieval_gap.training.checkpoint import TrainingProgress, load_checkpoint, save_checkpoint
from retrieval_gap.training.config import TrainingConfig
from retrieval_gap.training.step import DeviceStep, DivergedError, HostStep, TrainingStep, make_step
from tests.models.helpers import small_model

TASK = load_task("istree")(TaskConfig(n=6, mode="rag"))
CONFIG = TrainingConfig(samples=96, batch_size=8, lr=1e-2, warmup_samples=16, max_grad_norm=1.0)
every_architecture = pytest.mark.parametrize("name", ["transformer", "mamba", "lstm", "narrow lstm", "hybrid"])


def model_of(name: str) -> SequenceModel:
    return small_model(name, vocab_size=len(TASK.vocabulary))


def batches(steps: int, first_step: int = 0, task: Task = TASK) -> Iterator[TrainingBatch]:
    return islice(training_batches(task, CONFIG, first_step, CPU), steps)


def take(step: TrainingStep, steps: int, done: TrainingProgress = TrainingProgress()) -> float:  # noqa: B008 (frozen)
    """Takes some steps and returns the sum of their losses."""
    step.start(done)
    for batch in batches(steps, done.step):
        step(batch)
    return step.loss_sum()


def assert_close(ours: SequenceModel, theirs: SequenceModel, atol: float) -> None:
    other = theirs.trained_parameters()
    for name, parameter in ours.trained_parameters().items():
        torch.testing.assert_close(parameter, other[name], rtol=0, atol=atol, msg=lambda told, n=name: f"{n}: {told}")


@pytest.mark.parametrize("samples", [96, 1_000, 1_000_000])
@pytest.mark.parametrize("warmup", [0, 7, 64])
def test_a_device_follows_the_same_learning_rate_schedule(samples: int, warmup: int) -> None:
    config = replace(CONFIG, samples=samples, warmup_samples=warmup, lr=3e-4)
    ours_S = config.lr_at_steps(torch.arange(config.steps)).float()
    theirs_S = torch.tensor([config.lr_at(step) for step in range(config.steps)], dtype=torch.float64).float()
    torch.testing.assert_close(ours_S, theirs_S, rtol=1.2e-7, atol=1e-15)  # a float32's last place


@every_architecture
def test_the_summed_loss_is_the_mean_times_the_graded_tokens_with_the_same_gradients(name: str) -> None:
    (batch,) = batches(1)
    gradients = []
    for summed in (True, False):
        model = model_of(name)
        graded = batch.loss_mask_BxL[:, 1:].sum()
        loss = (
            model.summed_loss(batch.tokens_BxL, batch.loss_mask_BxL) / graded
            if summed
            else model.loss(batch.tokens_BxL, batch.loss_mask_BxL)
        )
        loss.backward()
        gradients.append([loss.detach(), *(p.grad for p in model.trained_parameters().values())])
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


@every_architecture
def test_more_padding_changes_neither_the_loss_nor_a_gradient(name: str) -> None:
    sample = TASK.sample(np.arange(8))
    found = []
    for length in (sample.tokens_BxL.shape[1], 300):
        model = model_of(name)
        loss = model.summed_loss(pad(sample.tokens_BxL, length), pad(sample.loss_mask_BxL, length))
        loss.backward()
        found.append([loss.detach(), *(p.grad for p in model.trained_parameters().values())])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


@every_architecture
@pytest.mark.parametrize("clip", [0.0, 0.5])
def test_both_steps_give_the_same_weights_and_losses(name: str, clip: float) -> None:
    config = replace(CONFIG, max_grad_norm=clip, lr=1e-3)
    ours, theirs = model_of(name), model_of(name)
    loss = take(DeviceStep(ours, config, TASK.max_length), 6)
    assert loss == pytest.approx(take(HostStep(theirs, config), 6), rel=1e-5)
    assert_close(ours, theirs, atol=2e-5)
    untrained = model_of(name)
    with pytest.raises(AssertionError):
        assert_close(ours, untrained, atol=5e-4)


def limited(model: SequenceModel, rows: int, calls: list[int]) -> Callable[..., torch.Tensor]:
    """The model's loss on a device whose memory holds `rows` samples."""
    whole = model.summed_loss

    def loss(tokens_BxL: torch.Tensor, loss_mask_BxL: torch.Tensor) -> torch.Tensor:
        calls.append(len(tokens_BxL))
        if len(tokens_BxL) > rows:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB. 5.00 MiB is free.")
        return whole(tokens_BxL, loss_mask_BxL)

    return loss


@every_architecture
@pytest.mark.parametrize("rows", [1, 3, 7])
def test_with_too_little_memory_smaller_parts_give_the_same_weights_and_a_warning(
    name: str, rows: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    config = replace(CONFIG, lr=1e-3)
    ours, theirs, calls = model_of(name), model_of(name), list[int]()
    step = DeviceStep(ours, config, TASK.max_length)
    monkeypatch.setattr(ours, "summed_loss", limited(ours, rows, calls))
    with caplog.at_level(logging.WARNING):
        loss = take(step, 3)
    assert loss == pytest.approx(take(DeviceStep(theirs, config, TASK.max_length), 3), rel=1e-6)
    assert_close(ours, theirs, atol=config.lr / 100)  # a step moves a weight by lr, however small its gradient is
    assert step.micro_batch == max(calls[-8 // step.micro_batch :]) <= rows
    assert f"continuing with {step.micro_batch}, with the same result (CUDA out of memory. Tried" in caplog.text


def test_memory_that_runs_out_in_the_middle_of_a_batch_leaves_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = model_of("lstm"), model_of("lstm")
    step = DeviceStep(ours, replace(CONFIG, lr=1e-3), TASK.max_length)
    step.micro_batch = 4
    whole, calls = ours.summed_loss, iter(range(100))

    def fails_once(tokens_BxL: torch.Tensor, loss_mask_BxL: torch.Tensor) -> torch.Tensor:
        if next(calls) == 3:  # the second half of the second batch
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return whole(tokens_BxL, loss_mask_BxL)

    monkeypatch.setattr(ours, "summed_loss", fails_once)
    loss = take(step, 3)
    assert step.micro_batch == 2
    assert loss == pytest.approx(take(DeviceStep(theirs, replace(CONFIG, lr=1e-3), TASK.max_length), 3), rel=1e-6)
    assert_close(ours, theirs, atol=1e-6)


def test_too_little_memory_for_one_sample_is_an_error_with_the_amounts(monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of("lstm")
    step = DeviceStep(model, CONFIG, TASK.max_length)
    monkeypatch.setattr(model, "summed_loss", limited(model, 0, []))
    with pytest.raises(RunError, match=r"one sample at a time: CUDA out of memory\. Tried to allocate 20\.00 MiB"):
        take(step, 1)


def test_batches_padded_to_alternating_lengths_give_the_same_losses() -> None:
    ours, theirs = model_of("transformer"), model_of("transformer")
    step, other = DeviceStep(ours, CONFIG, 400), DeviceStep(theirs, CONFIG, 400)
    lengths = (300, 250, 300, 250)
    for batch, length in zip(batches(4), lengths, strict=True):
        step(
            replace(
                batch, tokens_BxL=padded(batch.tokens_BxL, length), loss_mask_BxL=padded(batch.loss_mask_BxL, length)
            )
        )
        other(batch)
    assert step.loss_sum() == pytest.approx(other.loss_sum(), rel=1e-5)


def padded(tensor_BxL: torch.Tensor, length: int) -> torch.Tensor:
    return pad(tensor_BxL.numpy(), length)


def test_a_device_resumes_from_a_checkpoint_with_the_same_weights(tmp_path: Path) -> None:
    whole, first, second = (model_of("hybrid") for _ in range(3))
    step = DeviceStep(whole, CONFIG, TASK.max_length)
    loss = take(step, 6)
    begun = DeviceStep(first, CONFIG, TASK.max_length)
    progress = TrainingProgress(step=4, loss_sum=take(begun, 4), loss_count=4)
    save_checkpoint(tmp_path / "c", first.trained_parameters(), begun.optimizer, progress)
    resumed = DeviceStep(second, CONFIG, TASK.max_length)
    done = load_checkpoint(tmp_path / "c", second.trained_parameters(), resumed.optimizer)
    assert take(resumed, 2, done) == loss
    assert_close(second, whole, atol=0.0)


@pytest.mark.parametrize("on_device", [False, True])
def test_weights_that_few_batches_train_resume_from_a_checkpoint_too(on_device: bool, tmp_path: Path) -> None:
    """Such as those of one expert of several: they have no gradient on the first four batches and on the last."""
    at = [0]

    def begun() -> tuple[SequenceModel, TrainingStep]:
        model = model_of("lstm")
        layer = model.layers[-1]
        whole = layer.forward
        layer.forward = lambda x_BxLxD: whole(x_BxLxD) if at[0] in (4, 5) else x_BxLxD  # type: ignore[method-assign]
        return model, DeviceStep(model, CONFIG, TASK.max_length) if on_device else HostStep(model, CONFIG)

    def train(step: TrainingStep, done: TrainingProgress, until: int) -> float:
        step.start(done)
        for batch in batches(until - done.step, done.step):
            at[0] = batch.step
            step(batch)
        return step.loss_sum()

    whole, step = begun()
    loss = train(step, TrainingProgress(), 7)
    for saved_at in (2, 5):
        first, step = begun()
        progress = TrainingProgress(step=saved_at, loss_sum=train(step, TrainingProgress(), saved_at))
        save_checkpoint(tmp_path / "c", first.trained_parameters(), step.optimizer, progress)
        second, resumed = begun()
        done = load_checkpoint(tmp_path / "c", second.trained_parameters(), resumed.optimizer)
        assert train(resumed, done, 7) == loss
        assert_close(second, whole, atol=0.0)


def test_a_loss_that_is_not_finite_is_an_error_with_its_step_when_the_sum_is_read() -> None:
    model = model_of("transformer")
    step = DeviceStep(model, replace(CONFIG, max_grad_norm=0.0), TASK.max_length)
    step.start(TrainingProgress(step=3))
    for batch in batches(5, 3):
        if batch.step == 6:
            with torch.no_grad():
                next(iter(model.trained_parameters().values())).fill_(math.inf)
        step(batch)
    with pytest.raises(DivergedError, match=r"the loss is (nan|inf) at step 6 \(lr"):
        step.loss_sum()


def test_forgetting_losses_resets_their_sum() -> None:
    step = DeviceStep(model_of("lstm"), CONFIG, TASK.max_length)
    take(step, 2)
    step.forget_losses()
    assert step.loss_sum() == 0.0
    assert step.busy_seconds() is None


@every_architecture
def test_bfloat16_stays_near_float32_and_is_not_float32(name: str) -> None:
    losses = {}
    for precision in ("fp32", "bf16"):
        step = DeviceStep(model_of(name), replace(CONFIG, precision=precision), TASK.max_length)  # type: ignore[arg-type]
        losses[precision] = take(step, 1)
    assert losses["bf16"] == pytest.approx(losses["fp32"], rel=0.02)
    assert losses["bf16"] != losses["fp32"]


def test_the_recurrence_of_an_lstm_stays_in_float32() -> None:
    model = model_of("lstm")
    with torch.autocast("cpu", torch.bfloat16):
        y_BxLxD, state = model.layers[0].mixer.prefill(torch.randn(2, 3, 16).bfloat16(), (torch.zeros(2, 16),) * 2)
    assert {y_BxLxD.dtype, *(tensor.dtype for tensor in state)} == {torch.float32}


def test_a_cpu_refuses_bf16(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="precision bf16 is for GPUs"):
        make_step(model_of("lstm"), replace(CONFIG, precision="bf16"), TASK.max_length)


def test_a_training_loop_with_the_device_step_reports_what_the_host_step_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reports = {}
    for kind in (HostStep, DeviceStep):
        made = (lambda model, config, *_: HostStep(model, config)) if kind is HostStep else DeviceStep
        monkeypatch.setattr(training, "make_step", made)
        told = reports[kind] = list[training.StepReport]()
        options = training.LoopOptions(checkpoint=tmp_path / kind.__name__, report=told.append, report_every=5)
        training.train(model_of("mamba"), TASK, CONFIG, options)
    ours, theirs = reports[DeviceStep], reports[HostStep]
    assert [report.step for report in ours] == [5, 10, 12]
    assert [report.loss for report in ours] == pytest.approx([report.loss for report in theirs], rel=1e-3)
    assert all(0 < report.padding < 1 and report.micro_batch == 8 for report in (*ours, *theirs))
