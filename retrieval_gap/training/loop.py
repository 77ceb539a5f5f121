"""One training loop for every model and task: AdamW, cosine schedule with warm-up, exact resume.

A step is a function of (weights, optimiser moments, step number): the sample numbers determine the data, the step
number the learning rate.  So a run that is stopped anywhere and resumed ends with the same weights: bit for bit on one
machine with the same number of threads and ranks; up to rounding with another number of ranks or on a GPU, where the
order of sums is not fixed.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from torch.nn import Parameter
from torch.optim import Optimizer

from retrieval_gap.choices import CHECKPOINT_SECONDS
from retrieval_gap.machine.devices import allow_tf32
from retrieval_gap.machine.errors import RunError
from retrieval_gap.machine.stopping import StoppedError, stop_requested
from retrieval_gap.models import SequenceModel
from retrieval_gap.training.batches import TrainingBatch, training_batches
from retrieval_gap.training.checkpoint import START_OVER, TrainingProgress, resume, save_checkpoint
from retrieval_gap.training.config import TrainingConfig
from retrieval_gap.training.curriculum import TrainingData
from retrieval_gap.training.ranks import ALONE, NOTHING, SAVE, STOP, Ranks
from retrieval_gap.training.step import DivergedError, TrainingStep, make_step

__all__ = ["DivergedError", "StepReport", "StoppedError", "TrainingConfig", "Validation", "train"]
MEASURED = ("accuracy", "exact_trace")  # fields of a report that only a validation fills


@dataclass(frozen=True, kw_only=True)
class StepReport:
    """A report on the steps since the last one.

    loss: mean nats per graded token.  tokens_per_s: without padding; padding: its share of all positions.
    gpu_wait: share of the time in which the GPU had none of this run's steps to work on (no data yet, a checkpoint, a
    capture), by events around each step against the clock; None on the CPU.
    micro_batch: samples in memory together.
    With several ranks, gpu_wait and micro_batch are rank 0's, and the numbers above are over all ranks.
    accuracy, exact_trace: on held-out samples decoded at this step; None without a validation.
    """

    step: int
    samples: int
    loss: float
    lr: float
    samples_per_s: float
    tokens_per_s: float
    padding: float
    gpu_wait: float | None
    micro_batch: int
    accuracy: float | None = None
    exact_trace: float | None = None

    def to_json(self) -> dict[str, Any]:
        """A line of metrics.jsonl, without accuracies that were not measured."""
        return {name: value for name, value in asdict(self).items() if name not in MEASURED or value is not None}


@dataclass(frozen=True, kw_only=True)
class Validation:
    """Validation during training: decodes held-out samples, changes no weight.

    every: steps between validations; there is one after the last step too.  measure: returns the model's answer and
    exact-trace accuracy; called on rank 0 alone, with the model in `eval` mode.  stop_at: answer accuracy for early
    stopping; 0 for none.
    """

    every: int
    measure: Callable[[], tuple[float, float]]
    stop_at: float = 0.0


@dataclass(frozen=True, kw_only=True)
class LoopOptions:
    """Checkpoints, callbacks and validation of a loop.

    checkpoint: file to resume from and write.  checkpoint_seconds: time between checkpoints, the most a kill can lose.
    report: called every `report_every` steps.  at_step: called after each step with the samples so far.
    on_start: called once before the first step with the progress, after the checkpoint proved sound.
    on_first_loss: called with the loss of the very first step, that of the untrained weights.
    validation: the same on all ranks, except for `measure`.
    """

    checkpoint: Path
    report: Callable[[StepReport], None]
    report_every: int = 100
    at_step: Callable[[int], None] = lambda samples: None
    on_start: Callable[[TrainingProgress], None] = lambda done: None
    on_first_loss: Callable[[float], None] = lambda loss: None
    validation: Validation | None = None
    checkpoint_seconds: float = CHECKPOINT_SECONDS


def train(
    model: SequenceModel, data: TrainingData, config: TrainingConfig, options: LoopOptions, *, ranks: Ranks = ALONE
) -> int:
    """Train `model` in place on a task's split, from the checkpoint if there is one; leave the last two checkpoints.
    Return the number of steps of the trained model: `config.steps`, or fewer after early stopping.

    ranks: all ranks make the same call; rank 0 alone reads and writes the checkpoint and calls the callbacks.
    Raises DivergedError at a loss that is not finite (on a GPU when it is reported or saved), StoppedError after a
    signal to stop (to any of the ranks), UsageError for a precision that the model's device lacks, RunError for a
    checkpoint that cannot be read.
    """
    parameters = model.trained_parameters()
    step = make_step(model, config, data.max_length, ranks)
    resumed = _resumed(config, options, parameters, step.optimizer) if ranks.leads else TrainingProgress()
    done = ranks.start_together(resumed, parameters, step.optimizer)
    if done.stopped:
        return done.step
    step.start(done)
    meter = _Meter(done.loss_count)
    model.train()
    with stop_requested() as stop:
        wishes = _Wishes(stop, options.checkpoint_seconds, ranks)
        for batch in training_batches(data, config, done.step, model.device, ranks.share(config.batch_size)):
            step(batch)
            meter.add(batch)
            finished = batch.step + 1
            if ranks.leads:
                options.at_step(finished * config.batch_size)
            if finished == 1 and ranks.leads:
                options.on_first_loss(step.loss_sum())
            ended, stopped = finished == config.steps, False
            validates = options.validation is not None and (ended or finished % options.validation.every == 0)
            if finished % options.report_every == 0 or ended or validates:
                told = meter.report(step, config, finished, ranks)
                if options.validation is not None and validates:
                    told = _validated(model, config, told, options.validation, ranks)
                    stopped = ranks.from_rank_0(_good_enough(told, options.validation))
                    meter.restart()
                if ranks.leads:
                    options.report(told)
            ended = ended or stopped
            granted = wishes.granted()
            if granted != NOTHING or ended:
                progress = TrainingProgress(
                    step=finished, loss_sum=step.loss_sum(), loss_count=meter.loss_count, stopped=stopped
                )
                if ranks.leads:
                    save_checkpoint(options.checkpoint, parameters, step.optimizer, progress)
                wishes.saved()
            if granted == STOP and not ended:
                raise StoppedError(
                    f"stopped at sample {finished * config.batch_size} of {config.samples}; the same command resumes"
                )
            if stopped:
                return finished
    return config.steps


def _resumed(
    config: TrainingConfig, options: LoopOptions, parameters: dict[str, Parameter], optimizer: Optimizer
) -> TrainingProgress:
    """The checkpoint's progress; calls `on_start`.  Raises RunError if it has more steps than the configuration."""
    done = resume(options.checkpoint, parameters, optimizer)
    if done.step > config.steps:
        at = f"is at step {done.step} of {config.steps}"
        raise RunError(f"checkpoint {options.checkpoint} {at}; {START_OVER}")
    options.on_start(done)
    return done


def _validated(
    model: SequenceModel, config: TrainingConfig, told: StepReport, validation: Validation, ranks: Ranks
) -> StepReport:
    """The report with the measured accuracies, on rank 0."""
    if not ranks.leads:
        return told
    model.eval()
    accuracy, exact_trace = validation.measure()
    model.train()
    if model.device.type == "cuda":
        allow_tf32(config.precision == "tf32")  # decoding is in float32
    return replace(told, accuracy=accuracy, exact_trace=exact_trace)


def _good_enough(told: StepReport, validation: Validation) -> bool:
    return told.accuracy is not None and 0 < validation.stop_at <= told.accuracy


class _Wishes:
    """Decides when to write a checkpoint and when to stop; all ranks do so after the same step."""

    def __init__(self, stop: threading.Event, seconds: float, ranks: Ranks) -> None:
        self._stop, self._seconds, self._ranks = stop, seconds, ranks
        self.saved()

    def granted(self) -> int:
        wish = NOTHING
        if self._ranks.leads and time.perf_counter() - self._saved_at > self._seconds:
            wish = SAVE
            self.saved()  # it is about to be saved, and should not be wished for again meanwhile
        return self._ranks.largest(STOP if self._stop.is_set() else wish)

    def saved(self) -> None:
        self._saved_at = time.perf_counter()


class _Meter:
    """Counts for the next report.  loss_count: number of losses not yet reported, also from before a resume."""

    def __init__(self, loss_count: int) -> None:
        self.loss_count = loss_count
        self.restart()

    def restart(self) -> None:
        self._steps = self._tokens = self._positions = 0
        self._clock = time.perf_counter()

    def add(self, batch: TrainingBatch) -> None:
        self.loss_count += 1
        self._steps += 1
        self._tokens += batch.tokens
        self._positions += batch.tokens_BxL.numel()

    def report(self, step: TrainingStep, config: TrainingConfig, finished: int, ranks: Ranks) -> StepReport:
        loss, busy = step.loss_sum() / self.loss_count, step.busy_seconds()  # waits for a GPU, so the clock comes after
        tokens, positions = ranks.total(self._tokens, self._positions)
        seconds = time.perf_counter() - self._clock
        told = StepReport(
            step=finished,
            samples=finished * config.batch_size,
            loss=loss,
            lr=config.lr_at(finished - 1),
            samples_per_s=self._steps * config.batch_size / seconds,
            tokens_per_s=tokens / seconds,
            padding=1 - tokens / positions,
            gpu_wait=None if busy is None else max(0.0, 1 - busy / seconds),
            micro_batch=step.micro_batch,
        )
        step.forget_losses()
        self.loss_count = 0
        self.restart()
        return told
