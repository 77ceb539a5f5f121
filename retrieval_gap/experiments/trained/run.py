"""One run, from its configuration to a result row: training, or the rest of it, and evaluation."""

import logging
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from retrieval_gap.decoding.decode import Decoded
from retrieval_gap.decoding.evaluation import Evaluation, decode_batch, evaluate
from retrieval_gap.decoding.kept_samples import write_samples
from retrieval_gap.decoding.retrieval import RetrieverName
from retrieval_gap.experiments.trained.config import RunConfig
from retrieval_gap.experiments.trained.rows import MEASURED, read_tally, write_tally
from retrieval_gap.machine import environment
from retrieval_gap.machine.devices import CPU, choose_device
from retrieval_gap.machine.errors import UsageError
from retrieval_gap.machine.freed_memory import keep_freed_memory
from retrieval_gap.models import SequenceModel
from retrieval_gap.runs.directory import RunDirectory
from retrieval_gap.runs.experiment import Row, RunOptions
from retrieval_gap.runs.perform import perform
from retrieval_gap.runs.tracking import tracked
from retrieval_gap.tables.rows import COLUMNS
from retrieval_gap.tasks.api import Batch, Task
from retrieval_gap.training.checkpoint import TrainingProgress, has_checkpoint, load_checkpoint
from retrieval_gap.training.config import TrainingConfig, check_precision
from retrieval_gap.training.loop import LoopOptions, StepReport, Validation, train
from retrieval_gap.training.ranks import ALONE, Ranks

REPORTS_A_RUN = 100
VALIDATION_SAMPLES = 256  # decoded during training
HIGH_LOSS = 3.0  # times the loss of guessing: a first loss above it gets a warning
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Listener:
    """Callbacks of a run while it trains.

    report: after every hundredth of it, and at each validation.  at_step: after each step, with the samples so far.
    """

    report: Callable[[StepReport], None] = lambda told: None
    at_step: Callable[[int], None] = lambda samples: None


NOBODY = Listener()


def execute(
    config: RunConfig, options: RunOptions, *, listener: Listener = NOBODY, ranks: Ranks = ALONE
) -> dict[str, Any]:
    """Train (or resume) and evaluate one run; return the result row.  A finished run's row is read back.

    A run may resume on another device and with another number of ranks; this is rank 0's part.
    Raises UsageError for an invalid configuration or directory, RunError if the run fails.
    """
    check_precision(config.precision, choose_device(options.device))

    def work(run: RunDirectory, options: RunOptions) -> list[Row]:
        return [train_and_evaluate(config, run, options, listener=listener, ranks=ranks)]

    (row,) = perform(config, options, work, ranks=ranks.count)
    return row


def train_and_evaluate(
    config: RunConfig,
    run: RunDirectory,
    options: RunOptions,
    *,
    listener: Listener = NOBODY,
    ranks: Ranks = ALONE,
) -> Row:
    """Do a run's work in its directory, which is held, and return its row.  Raises RunError if it fails."""
    device = choose_device(options.device)
    check_precision(config.precision, device)
    with tracked(options.log, run.path, config) as track:

        def on_report(told: StepReport) -> None:
            track(told.to_json())
            listener.report(told)

        ranks.begin()
        trained = _trained(config, run, device, replace(listener, report=on_report), options.checkpoint_seconds, ranks)
        ranks.close()  # rank 0 evaluates alone
        evaluation = _own_evaluation(config, trained.model, run)
        row = result_row(config, trained, evaluation, _wall_time(run), ranks.count)
        track({"samples": row["samples"]} | {f"evaluation/{key}": row[key] for key in MEASURED})
    return row


def follow(config: RunConfig, device: torch.device, ranks: Ranks) -> None:
    """The part of all ranks but the first: train along, and write nothing.  Raises RunError if the run fails."""
    if not ranks.begin():
        return
    keep_freed_memory()
    task = config.build_task("train")
    model, training = new_model(config, task, device), config.training()
    options = LoopOptions(
        checkpoint=Path(),
        report=lambda told: None,
        report_every=_report_every(training),
        validation=_validation(config, model),
    )
    train(model, config.training_data(task), training, options, ranks=ranks)


def load_model(run: RunDirectory, device: torch.device = CPU) -> tuple[RunConfig, SequenceModel, TrainingProgress]:
    """A run's configuration, its model as last saved, and how far it was trained.

    Raises UsageError or RunError if there is no saved model.
    """
    config = run.experiment()
    if not isinstance(config, RunConfig):
        raise UsageError(f"{run.path} is of the kind {config.kind}: it holds no trained model")
    run.check_name(config)
    if not has_checkpoint(run.checkpoint):
        if run.result.exists():
            raise UsageError(
                f"{run.path} was finished, and its weights were not kept; delete the folder and train it again, with "
                "--keep-weights of train or sweep"
            )
        raise UsageError(f"{run.path} has no checkpoint yet")
    model = new_model(config, config.build_task("train"), device)
    progress = load_checkpoint(run.checkpoint, model.trained_parameters())
    return config, model.eval(), progress


def evaluate_run(
    run: RunDirectory, samples: int | None, retriever: RetrieverName | None, device: torch.device = CPU
) -> dict[str, Any]:
    """Evaluate a run's model, as last saved, by free decoding on the split that the run reports.

    In the result, `samples` is how many the model was trained on so far; it is final only if `status` is "done".
    """
    keep_freed_memory()
    config, model, progress = load_model(run, device)
    trained = {"samples": progress.step * config.batch_size, "status": run.status()}
    task = config.build_task(config.eval_split)
    wanted = task.to_evaluate(samples or config.eval_samples)
    evaluation = evaluate(model, task, wanted, retriever=retriever, batch=_decode_batch(model, task))
    settled = {"family": task.family, "options": task.config.options, "lr": config.training().lr}
    return asdict(config) | settled | trained | asdict(evaluation)


@dataclass(frozen=True)
class Trained:
    """A model in `eval` mode, and the number of samples that it was trained on."""

    model: SequenceModel
    samples: int


def result_row(
    config: RunConfig, trained: Trained, evaluation: Evaluation, wall_s: float, ranks: int = 1
) -> dict[str, Any]:
    """One row of a results table; the columns are those of `tables.COLUMNS`."""
    task, model = config.build_task(config.eval_split), trained.model
    told = environment.describe(model.device.type)
    row = described(config, task, trained) | {
        "state_bits": model.state_bits(task.max_length),
        **asdict(evaluation),
        "wall_s": round(wall_s, 1),
        "threads": torch.get_num_threads(),
        "hardware": told["hardware"] + (f", {ranks} ranks" if ranks > 1 else ""),
        "torch": told["torch"],
        "commit": told["commit"],
    }
    return {column: row[column] for column in COLUMNS}


def described(config: RunConfig, task: Task, trained: Trained) -> dict[str, Any]:
    """The columns that tables of runs, of probes and of tests have of a model that was trained on this task."""
    training = config.training()
    return asdict(config) | {
        "family": task.family,
        "options": task.config.options,
        "parameters": trained.model.parameter_count(),
        "state_bits_per_token": trained.model.state_growth().per_token,
        "samples": trained.samples,
        "lr": training.lr,
        "warmup_samples": training.warmup_samples,
        "max_grad_norm": float(training.max_grad_norm),
        "config_hash": config.hash(),
    }


def new_model(config: RunConfig, task: Task, device: torch.device) -> SequenceModel:
    """The untrained model of a run for the words of its task."""
    return SequenceModel(config.model(len(task.vocabulary), task.unread)).to(device)


def _report_every(training: TrainingConfig) -> int:
    return max(1, training.steps // REPORTS_A_RUN)


def _trained(
    config: RunConfig,
    run: RunDirectory,
    device: torch.device,
    listener: Listener,
    checkpoint_seconds: float,
    ranks: Ranks,
) -> Trained:
    task = config.build_task("train")
    model, training = new_model(config, task, device), config.training()
    before = started = 0.0

    def on_start(done: TrainingProgress) -> None:
        nonlocal before, started
        run.trim_metrics(done.step)
        if done.step < training.steps and not done.stopped:
            run.evaluation.unlink(missing_ok=True)  # its model is gone
        before, started = _wall_time(run), time.perf_counter()

    def on_report(told: StepReport) -> None:
        run.add_report(told.to_json() | {"wall_s": round(time.perf_counter() - started + before, 3)})
        listener.report(told)

    options = LoopOptions(
        checkpoint=run.checkpoint,
        report=on_report,
        report_every=_report_every(training),
        at_step=listener.at_step,
        on_start=on_start,
        on_first_loss=lambda loss: _warn_of_high_loss(loss, len(task.vocabulary), config),
        validation=_validation(config, model),
        checkpoint_seconds=checkpoint_seconds,
    )
    steps = train(model, config.training_data(task), training, options, ranks=ranks)
    return Trained(model.eval(), steps * config.batch_size)


def _validation(config: RunConfig, model: SequenceModel) -> Validation | None:
    """The validation during training; None if there is none."""
    if not config.validation_every:
        return None
    task = config.build_task("validation")
    samples = task.to_evaluate(VALIDATION_SAMPLES)

    def measure() -> tuple[float, float]:
        told = evaluate(model, task, samples, batch=_decode_batch(model, task))
        return told.accuracy, told.exact_trace

    return Validation(
        every=max(1, config.validation_every // config.batch_size), measure=measure, stop_at=config.stop_at
    )


def _warn_of_high_loss(loss: float, vocabulary: int, config: RunConfig) -> None:
    """Log a warning if the first loss is far above that of guessing."""
    guessing = math.log(vocabulary)
    if loss > HIGH_LOSS * guessing:
        hint = "--embedding learned" if config.embedding == "sinusoidal" else "a smaller --lr"
        _log.warning(
            "the first loss is %.1f, and guessing among %d tokens has %.1f: the logits start large, which costs samples"
            " before anything is learned; %s, or more --samples and --warmup-samples, may help (docs/training.md)",
            loss, vocabulary, guessing, hint,
        )  # fmt: skip


def _own_evaluation(config: RunConfig, model: SequenceModel, run: RunDirectory) -> Evaluation:
    """The evaluation that the row reports.  It resumes after the last batch that an earlier start has counted, so that
    a run ends however short its turns are."""
    task = config.build_task(config.eval_split)

    def keep(first: int, gold: Batch, decoded: Decoded, right_BxQ: NDArray[np.bool_]) -> None:
        if first == 0:
            write_samples(run.samples, task, gold, decoded, right_BxQ)

    return evaluate(
        model,
        task,
        task.to_evaluate(config.eval_samples),
        batch=_decode_batch(model, task),
        counted=read_tally(run),
        on_decoded=keep,
        on_batch=lambda tally: write_tally(run, tally),
    )


def _decode_batch(model: SequenceModel, task: Task) -> int:
    return decode_batch(model.state_bits(task.max_length), model.device)


def _wall_time(run: RunDirectory) -> float:
    """Seconds of training so far, over all the times the run was started."""
    reports = run.reports()
    return float(reports[-1]["wall_s"]) if reports else 0.0
