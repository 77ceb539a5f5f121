"""Training on a GPU by the captured step, beside the same step as one would write it, for cells of the paper's grid.

Both train the same model on fresh batches for a few seconds, one after the other.  Four rows per cell:

* samples per second, beside the step that launches each operation by itself and looks at every loss;
* tokens per second without padding, beside positions with it: the ratio is the share that is not padding;
* seconds in which the GPU worked on steps (events around each), beside the clock: the difference is the GPU's wait;
* the model's TFLOP/s, beside those of a large matrix product in the same precision in the same run: the utilisation.
  Operations are torch's count over one step, padding included; its counter does not see into the selective scan, which
  counts as nothing, nor into cuDNN's LSTM, whose matrices are added here.
"""

import time
from dataclasses import dataclass
from itertools import product

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from retrieval_gap.experiments.trained.config import RunConfig
from retrieval_gap.models import ARCHITECTURES, SequenceModel
from retrieval_gap.tasks.api import Mode, Task
from retrieval_gap.training.batches import TrainingBatch, training_batches
from retrieval_gap.training.checkpoint import TrainingProgress
from retrieval_gap.training.config import Precision
from retrieval_gap.training.step import DeviceStep, HostStep, TrainingStep

from . import Row, row

NEEDS_GPU = True
DEVICE = "cuda"
SIZES = ("0.5m", "2m")
MODES: tuple[Mode, ...] = ("direct", "cot", "rag")
NODES = (16, 64)
PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16")
WARM_UP_STEPS, SECONDS, MATMUL = 6, 2.0, 8192
FORWARD_AND_BACKWARD = 3


@dataclass(frozen=True)
class Stretch:
    """What was trained in a stretch of time; busy_s: how long the GPU worked, the whole time if not measured."""

    samples: int
    tokens: int
    positions: int
    seconds: float
    busy_s: float

    @property
    def samples_per_s(self) -> float:
        return self.samples / self.seconds


def run() -> list[Row]:
    """Four rows for each architecture, size, view, problem size and precision."""
    cells = product(ARCHITECTURES, SIZES, MODES, NODES, PRECISIONS)
    return [
        told
        for arch, size, mode, n, precision in cells
        for told in _measure(RunConfig(task="istree", mode=mode, n=n, arch=arch, size=size, precision=precision))
    ]


def _measure(config: RunConfig) -> list[Row]:
    task, device = config.build_task("train"), torch.device(DEVICE)
    model = SequenceModel(config.model(len(task.vocabulary))).to(device)
    training = config.training()
    ours = train_a_while(DeviceStep(model, training, task.max_length), config, task, SECONDS)
    theirs = train_a_while(HostStep(model, training), config, task, SECONDS)
    batch = next(training_batches(task, training, 0, device))
    tflops = step_flops(model, batch) * ours.samples_per_s / config.batch_size / 1e12
    name = f"{config.arch} {config.size}, istree {config.mode} n={config.n}, {config.precision}"
    return [
        row(f"training, {name}", ours.samples_per_s, theirs.samples_per_s, "samples/s", "single operations, fp32"),
        row(f"padding, {name}", ours.tokens / ours.seconds, ours.positions / ours.seconds, "tokens/s", "with padding"),
        row(f"busy, {name}", ours.busy_s, ours.seconds, "s", "the clock"),
        row(f"utilisation, {name}", tflops, matmul_tflops(config.precision), "TFLOP/s", "a large matrix product"),
    ]


def train_a_while(step: TrainingStep, config: RunConfig, task: Task, seconds: float) -> Stretch:
    """Train for this long, after a few steps of warm-up, on batches as a run gets them."""
    batches = training_batches(task, config.training(), 0, torch.device(DEVICE))
    step.start(TrainingProgress())
    for _ in range(WARM_UP_STEPS):
        step(next(batches))
    _settle(step)
    steps = tokens = positions = 0
    begin = time.perf_counter()
    while time.perf_counter() - begin < seconds:
        batch = next(batches)
        step(batch)
        steps, tokens, positions = steps + 1, tokens + batch.tokens, positions + batch.tokens_BxL.numel()
    busy_s = _settle(step)
    passed_s = time.perf_counter() - begin
    return Stretch(steps * config.batch_size, tokens, positions, passed_s, busy_s or passed_s)


def _settle(step: TrainingStep) -> float | None:
    """Wait for the queued steps; return how long the GPU worked."""
    step.loss_sum()
    return step.busy_seconds()


def step_flops(model: SequenceModel, batch: TrainingBatch) -> int:
    """Operations of a forward and a backward pass."""
    with FlopCounterMode(display=False) as counter:
        model.summed_loss(batch.tokens_BxL, batch.loss_mask_BxL).backward()
    model.zero_grad(set_to_none=True)
    lstms = [module for module in model.modules() if isinstance(module, nn.LSTM)]
    entries = sum(weight.numel() for lstm in lstms for weight in lstm.parameters() if weight.ndim == 2)
    positions = batch.tokens_BxL[:, 1:].numel()
    return counter.get_total_flops() + FORWARD_AND_BACKWARD * 2 * entries * positions


def matmul_tflops(precision: Precision) -> float:
    """TFLOP/s of a square matrix product under the precision that `DeviceStep` has set: the best of a few."""
    kind = torch.bfloat16 if precision == "bf16" else torch.float32
    a = torch.randn(MATMUL, MATMUL, device=DEVICE, dtype=kind)
    return max(2 * MATMUL**3 / _matmul_seconds(a) / 1e12 for _ in range(5))


def _matmul_seconds(a: torch.Tensor) -> float:
    begin = time.perf_counter()
    float((a @ a)[0, 0])  # waits
    return time.perf_counter() - begin
