"""One training loop for every model and task: AdamW, cosine schedule with warm-up, exact resume.

What a step does is a function of (weights, optimiser moments, step number): data are drawn by sample number, the
learning rate by step number.  So a run that is stopped anywhere and started again ends in the same weights, bit for
bit on one machine with the same number of threads.
"""

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from retrieval_gap.checkpoint import Progress, load_checkpoint, save_checkpoint
from retrieval_gap.errors import RunError, UsageError
from retrieval_gap.models import SequenceModel
from tasks.api import Task

PREFETCHED_BATCHES = 4
CHECKPOINT_SECONDS = 20.0
MAX_SAMPLES = 2**63 - 1  # a sample's number is an int64


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """The paper's defaults: AdamW without weight decay, batch 64, 10k samples of warm-up, cosine to zero, fp32.

    samples: drawn in all; batch_size divides what is drawn, the remainder is not trained on.
    max_grad_norm: gradients are scaled down to this norm; 0 means never (the paper's).
    """

    samples: int = 1_000_000
    batch_size: int = 64
    lr: float = 1e-3
    warmup_samples: int = 10_000
    max_grad_norm: float = 0.0

    def __post_init__(self) -> None:
        for name, value, good, wanted in (
            ("batch_size", self.batch_size, self.batch_size >= 1, "1 or more"),
            ("samples", self.samples, self.batch_size <= self.samples <= MAX_SAMPLES, "batch_size to 2**63 - 1"),
            ("lr", self.lr, 0 < self.lr < math.inf, "more than 0, and finite,"),
            ("warmup_samples", self.warmup_samples, 0 <= self.warmup_samples < self.samples, "0 to samples - 1"),
            ("max_grad_norm", self.max_grad_norm, 0 <= self.max_grad_norm < math.inf, "0 or more, and finite,"),
        ):
            if not good:
                raise UsageError(f"{name} = {value} is out of range: {wanted} is wanted")

    @property
    def steps(self) -> int:
        return self.samples // self.batch_size

    def lr_at(self, step: int) -> float:
        """Learning rate of a step, counted from 0: linear warm-up, then half a cosine down to zero."""
        warmup = self.warmup_samples / self.batch_size
        if step < warmup:
            return self.lr * (step + 1) / (warmup + 1)
        return self.lr * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1.0, self.steps - warmup)))


@dataclass(frozen=True, kw_only=True)
class StepReport:
    """What a loop tells while it runs.  loss: mean nats a graded token since the last report."""

    step: int
    samples: int
    loss: float
    lr: float
    samples_per_s: float


class DivergedError(RunError):
    """The loss is no longer a number."""


class StoppedError(RunError):
    """A signal asked the run to stop; its checkpoint is written."""


def train(
    model: SequenceModel,
    task: Task,
    config: TrainingConfig,
    *,
    checkpoint: Path,
    report: Callable[[StepReport], None],
    report_every: int = 100,
) -> None:
    """Trains `model` in place on the task's split, from `checkpoint` where there is one; leaves the last one there.

    Raises DivergedError at a loss that is not finite, StoppedError after SIGINT or SIGTERM, RunError for a checkpoint
    that cannot be read.
    """
    parameters = model.trained_parameters()
    optimizer = torch.optim.AdamW(parameters.values(), lr=config.lr, weight_decay=0.0, fused=True)
    done = load_checkpoint(checkpoint, parameters, optimizer) if checkpoint.exists() else Progress()
    if done.step > config.steps:
        at = f"is at step {done.step} of {config.steps}"
        raise RunError(f"checkpoint {checkpoint} {at}; delete it to start this run over")
    device = model.device
    loss_sum, loss_count = done.loss_sum, done.loss_count
    saved_at = clock = time.perf_counter()
    clock_step = done.step
    model.train()
    with stop_requested() as stop:
        for step, (tokens_BxL, mask_BxL) in _batches(task, config, done.step):
            for group in optimizer.param_groups:
                group["lr"] = config.lr_at(step)
            optimizer.zero_grad(set_to_none=True)
            loss = model.loss(tokens_BxL.to(device), mask_BxL.to(device))
            loss.backward()
            norm = torch.nn.utils.clip_grad_norm_(parameters.values(), config.max_grad_norm or math.inf)
            value = loss.item()
            for what, number in (("loss", value), ("gradient's norm", norm.item())):
                if not math.isfinite(number):
                    raise DivergedError(f"the {what} is {number} at step {step} (lr {config.lr_at(step):.3g})")
            optimizer.step()
            loss_sum, loss_count = loss_sum + value, loss_count + 1
            now, finished = time.perf_counter(), step + 1
            if finished % report_every == 0 or finished == config.steps:
                report(
                    StepReport(
                        step=finished,
                        samples=finished * config.batch_size,
                        loss=loss_sum / loss_count,
                        lr=config.lr_at(step),
                        samples_per_s=(finished - clock_step) * config.batch_size / (now - clock),
                    )
                )
                loss_sum, loss_count, clock, clock_step = 0.0, 0, now, finished
            if stop.is_set() or finished == config.steps or now - saved_at > CHECKPOINT_SECONDS:
                progress = Progress(step=finished, loss_sum=loss_sum, loss_count=loss_count)
                save_checkpoint(checkpoint, parameters, optimizer, progress)
                saved_at = time.perf_counter()
            if stop.is_set() and finished < config.steps:
                raise StoppedError(
                    f"stopped at sample {finished * config.batch_size} of {config.samples}; the same command goes on"
                )


def _batches(task: Task, config: TrainingConfig, first_step: int) -> Iterator[tuple[int, tuple[Tensor, Tensor]]]:
    """The batches from a step on, generated a few ahead by a background thread."""

    def draw(step: int) -> tuple[Tensor, Tensor]:
        batch = task.sample(np.arange(step * config.batch_size, (step + 1) * config.batch_size))
        return torch.from_numpy(batch.tokens_BxL), torch.from_numpy(batch.loss_mask_BxL)

    with ThreadPoolExecutor(1, thread_name_prefix="batches") as background:
        ahead = {
            step: background.submit(draw, step)
            for step in range(first_step, min(first_step + PREFETCHED_BATCHES, config.steps))
        }
        for step in range(first_step, config.steps):
            batch = ahead.pop(step).result()
            if (later := step + PREFETCHED_BATCHES) < config.steps:
                ahead[later] = background.submit(draw, later)
            yield step, batch


@contextmanager
def stop_requested() -> Iterator[threading.Event]:
    """An event set by SIGINT or SIGTERM, while the context lasts; a second signal acts at once.

    Off the main thread, where Python delivers no signals, the event is never set.
    """
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return
    before = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}

    def on_signal(number: int, _frame: object) -> None:
        event.set()
        signal.signal(number, before[signal.Signals(number)])

    for number in before:
        signal.signal(number, on_signal)
    try:
        yield event
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
