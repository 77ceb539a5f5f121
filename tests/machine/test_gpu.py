"""On a GPU a captured graph does what its operations do, and batches that are copied ahead arrive whole."""

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from retrieval_gap.decoding.evaluation import evaluate
from retrieval_gap.experiments.trained.run import evaluate_run
from retrieval_gap.machine.cuda_graphs import WARM_UP_CALLS, Replay, graph_pool
from retrieval_gap.machine.devices import allow_tf32
from retrieval_gap.models import SequenceModel
from retrieval_gap.runs.directory import RunDirectory
from retrieval_gap.tasks.api import TaskConfig
from retrieval_gap.tasks.registry import load_task
from retrieval_gap.training.batches import training_batches
from retrieval_gap.training.checkpoint import TrainingProgress
from retrieval_gap.training.config import TrainingConfig
from retrieval_gap.training.step import DeviceStep
from tests.decoding.test_on_device import NODES, Writer, assert_same, istree, on_device, on_host
from tests.models.helpers import SMALL, small_model
from tests.training.runs import execute
from tests.training.test_loop import CONFIG

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU here")
every_architecture = pytest.mark.parametrize("name", SMALL)
CUDA = torch.device("cuda")
TASK = load_task("istree")(TaskConfig(n=6, mode="rag"))
TRAINING = TrainingConfig(samples=160, batch_size=8, lr=1e-3, warmup_samples=16, max_grad_norm=1.0)


def trained(model: SequenceModel, device: torch.device, **changes: object) -> tuple[float, SequenceModel, DeviceStep]:
    config = replace(TRAINING, **changes)  # type: ignore[arg-type]
    step = DeviceStep(model.to(device), config, TASK.max_length)
    step.start(TrainingProgress())
    for batch in training_batches(TASK, config, 0, device):
        step(batch)
    return step.loss_sum(), model.cpu(), step


def test_a_replay_does_its_work_once_per_call_before_and_after_the_capture() -> None:
    total = torch.zeros((), dtype=torch.int64, device=CUDA)
    replay = Replay(lambda: total.add_(1), CUDA, graph_pool(CUDA))  # type: ignore[arg-type, return-value]
    for call in range(1, 8):
        replay()
        assert total.item() == call
        assert (replay._graph is not None) == (call > WARM_UP_CALLS)


def test_work_that_reads_values_runs_without_a_graph_and_with_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    total = torch.zeros((), device=CUDA)

    def look() -> None:
        total.add_(1 if total.item() >= 0 else 0)

    replay = Replay(look, CUDA)
    with caplog.at_level(logging.WARNING):
        for _ in range(6):
            replay()
    assert total.item() == 6
    assert caplog.text.count("no CUDA graph can be made") == 1
    assert torch.ones(3, device=CUDA).sum().item() == 3  # and the device still works


@every_architecture
@pytest.mark.parametrize("embedding", ["sinusoidal", "learned"])
def test_a_captured_step_gives_the_same_weights_as_the_cpu(name: str, embedding: str) -> None:
    def fresh() -> SequenceModel:
        return small_model(name, embedding, vocab_size=len(TASK.vocabulary))  # type: ignore[arg-type]

    ours, model, step = trained(fresh(), CUDA)
    theirs, other, _ = trained(fresh(), torch.device("cpu"))
    assert any(fixed.replay._graph is not None for fixed in step._fixed.values())
    assert ours == pytest.approx(theirs, rel=1e-4)
    expected = other.trained_parameters()
    for key, parameter in model.trained_parameters().items():
        assert (parameter - expected[key]).abs().max() < 2e-3, key


@every_architecture
def test_smaller_micro_batches_give_the_same_loss(name: str) -> None:
    def in_parts(rows: int) -> float:
        step = DeviceStep(small_model(name, vocab_size=len(TASK.vocabulary)).to(CUDA), TRAINING, TASK.max_length)
        step.micro_batch = rows
        step.start(TrainingProgress())
        for batch in training_batches(TASK, TRAINING, 0, CUDA):
            step(batch)
        return step.loss_sum()

    assert in_parts(3) == pytest.approx(in_parts(8), rel=1e-4)


@every_architecture
def test_bfloat16_and_tf32_stay_near_float32(name: str) -> None:
    losses = {
        precision: trained(small_model(name, vocab_size=len(TASK.vocabulary)), CUDA, precision=precision)[0]
        for precision in ("fp32", "tf32", "bf16")
    }
    allow_tf32(False)
    assert losses["tf32"] == pytest.approx(losses["fp32"], rel=0.02)
    assert losses["bf16"] == pytest.approx(losses["fp32"], rel=0.05)


def test_batches_arrive_on_the_gpu_as_they_were_drawn() -> None:
    task = load_task("istree")(TaskConfig(n=12, mode="cot"))
    seen = 0
    for batch in training_batches(task, TRAINING, 3, CUDA):
        gold = task.sample(np.arange(8 * batch.step, 8 * batch.step + 8))
        for ours, theirs in ((batch.tokens_BxL, gold.tokens_BxL), (batch.loss_mask_BxL, gold.loss_mask_BxL)):
            np.testing.assert_array_equal(ours.cpu().numpy()[:, : theirs.shape[1]], theirs)
            assert not ours[:, theirs.shape[1] :].any()
        seen += 1
    assert seen == TRAINING.steps - 3


@every_architecture
@pytest.mark.parametrize("mode", ["cot", "rag"])
def test_captured_decoding_writes_the_same_tokens_as_the_loop_on_the_host(name: str, mode: str) -> None:
    allow_tf32(False)
    task = istree(mode, 5)  # type: ignore[arg-type]
    model, gold = small_model(name, vocab_size=len(task.vocabulary)).to(CUDA), task.sample(np.arange(40))
    decoder = on_device(model, task, 40)
    first, again = (decoder(gold.tokens_BxL, gold.prompt_len_B) for _ in range(2))
    assert_same(again, first)
    theirs = on_host(model, task, gold)
    same = (first.tokens_BxL == theirs.tokens_BxL).all(1)
    assert same.mean() >= 0.95  # either of two nearly equal logits may be the larger


def test_captured_searches_find_the_same_as_those_on_the_host() -> None:
    task = istree("rag")
    model, gold = Writer(task), task.sample(np.arange(60))
    theirs = on_host(model, task, gold, NODES)
    assert_same(on_device(model.to(CUDA), task, 60, NODES)(gold.tokens_BxL, gold.prompt_len_B), theirs)


def test_a_run_on_the_gpu_is_trained_evaluated_and_recorded_as_such(tmp_path: Path) -> None:
    config = replace(CONFIG, mode="rag", arch="hybrid")
    row = execute(config, tmp_path, device=CUDA)
    assert row["hardware"] == torch.cuda.get_device_name()
    run = RunDirectory.of(config, tmp_path)
    reports = run.reports()
    assert all(0 <= report["gpu_wait"] < 1 for report in reports)
    saved = evaluate_run(run, None, None, CUDA)
    assert saved["exact_trace"] == row["exact_trace"]
    on_cpu = evaluate_run(run, None, None)
    assert abs(on_cpu["accuracy"] - row["accuracy"]) < 0.2


def test_the_batch_size_of_decoding_does_not_change_its_result() -> None:
    task = istree("cot", 8)
    model = small_model("mamba", vocab_size=len(task.vocabulary)).to(CUDA)
    many, few = (evaluate(model, task, 100, batch=batch) for batch in (100, 16))
    assert (many.undecided, many.exact_trace) == (few.undecided, few.exact_trace)
