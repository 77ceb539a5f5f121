"""One run, from its configuration to a result row: trained, or trained on, and evaluated."""

import json
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from retrieval_gap.decoding.evaluation import Evaluation, decode_batch, evaluate
from retrieval_gap.decoding.kept_samples import write_samples
from retrieval_gap.decoding.retrieval import RetrieverName
from retrieval_gap.experiments.trained.config import RunConfig
from retrieval_gap.machine import environment
from retrieval_gap.machine.devices import CPU
from retrieval_gap.machine.errors import RunError, UsageError
from retrieval_gap.machine.files import make_folder, write_json
from retrieval_gap.machine.memory import keep_freed_memory
from retrieval_gap.models import SequenceModel
from retrieval_gap.runs.directory import MEASURED, RunDirectory, read_json
from retrieval_gap.runs.tracking import LogName, tracked
from retrieval_gap.tasks.api import Task
from retrieval_gap.training.checkpoint import Progress, has_checkpoint, load_checkpoint, previous
from retrieval_gap.training.config import CHECKPOINT_SECONDS, TrainingConfig, check_precision
from retrieval_gap.training.loop import DivergedError, StepReport, train
from retrieval_gap.training.ranks import ALONE, Ranks

REPORTS_A_RUN = 100


def execute(
    config: RunConfig,
    runs_dir: Path,
    *,
    device: torch.device = CPU,
    report: Callable[[RunConfig, StepReport], None] = lambda *_: None,
    keep_weights: bool = True,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    log: LogName = "none",
    ranks: Ranks = ALONE,
    patience: float | None = None,
) -> dict[str, Any]:
    """Trains (or goes on training) and evaluates one run; the result row.  A finished run's row is read back.

    A run may go on upon another device than it was begun on, and on another number of ranks; this is rank 0's part.
    keep_weights: leave the last checkpoint in the directory, where nothing but `evaluate_run` needs it.
    log: where the reports, and what is measured at the end, are told besides metrics.jsonl.
    patience: seconds to wait for a run that another process holds, as in `RunDirectory.locked`.
    Raises UsageError for a configuration or a directory that will not do, RunError where the run fails.
    """
    config.validate()
    check_precision(config.precision, device)
    run = RunDirectory.of(config, runs_dir)
    if run.result.exists():
        return run.row()
    keep_freed_memory()
    make_folder(run.path)
    with run.locked(patience):
        if run.result.exists():  # another process had the lock until now
            return run.row()
        if run.failure.exists():
            reason = read_json(run.failure).get("reason", "no reason is written")
            raise RunError(f"{run.path} failed before: {reason}; delete it to try again")
        run.create(config, device, ranks.count)
        with tracked(log, run.path, config) as track:

            def on_report(config: RunConfig, told: StepReport) -> None:
                track(asdict(told))
                report(config, told)

            ranks.begin()
            model = _trained(config, run, device, on_report, checkpoint_seconds=checkpoint_seconds, ranks=ranks)
            ranks.leave()  # rank 0 evaluates alone
            row = result_row(config, model, _own_evaluation(config, model, run), _wall_time(run), ranks.count)
            track({"samples": row["samples"]} | {f"evaluation/{key}": row[key] for key in MEASURED})
        write_json(run.result, row)
        run.evaluation.unlink(missing_ok=True)
        previous(run.checkpoint).unlink(missing_ok=True)
        if not keep_weights:
            run.checkpoint.unlink(missing_ok=True)
    return row


def follow(config: RunConfig, device: torch.device, ranks: Ranks) -> None:
    """What a rank but the first does: trains along, and writes nothing.  Raises RunError where the run fails."""
    if not ranks.begin():
        return
    keep_freed_memory()
    task = config.build_task("train")
    model, training = _new_model(config, task, device), config.training()
    train(
        model,
        task,
        training,
        checkpoint=Path(),
        report=lambda told: None,
        report_every=_report_every(training),
        ranks=ranks,
    )


def load_model(run: RunDirectory, device: torch.device = CPU) -> tuple[RunConfig, SequenceModel, Progress]:
    """A run's configuration, its model as last saved, and how far it was trained.

    Raises UsageError, RunError where there is none.
    """
    config = run.config()
    if not has_checkpoint(run.checkpoint):
        if run.result.exists():
            raise UsageError(
                f"{run.path} was finished without its weights; --keep-weights of train and sweep keeps them"
            )
        raise UsageError(f"{run.path} has no checkpoint yet")
    model = _new_model(config, config.build_task("train"), device)
    progress = load_checkpoint(run.checkpoint, model.trained_parameters())
    return config, model.eval(), progress


def evaluate_run(
    run: RunDirectory, samples: int | None, retriever: RetrieverName | None, device: torch.device = CPU
) -> dict[str, Any]:
    """Free decoding with a run's model, as last saved, on the split that the run reports.

    `samples` of the answer are those that the model was trained on, of which there are more to come where `status`
    is not "done".
    """
    keep_freed_memory()
    config, model, progress = load_model(run, device)
    trained = {"samples": progress.step * config.batch_size, "status": run.status()}
    evaluation = _evaluated(config, model, samples or config.eval_samples, retriever=retriever)
    return asdict(config) | trained | asdict(evaluation)


def result_row(
    config: RunConfig, model: SequenceModel, evaluation: Evaluation, wall_s: float, ranks: int = 1
) -> dict[str, Any]:
    """One row of a results table; the columns are those of `tables.COLUMNS`."""
    task = config.build_task(config.eval_split)
    told = environment.describe(model.device.type)
    return {
        "task": config.task,
        "family": task.family,
        "mode": config.mode,
        "n": config.n,
        "options": task.config.options,
        "arch": config.arch,
        "size": config.size,
        "embedding": config.embedding,
        "parameters": model.parameter_count(),
        "state_bits": model.state_bits(task.max_length),
        "samples": config.training().steps * config.batch_size,
        "batch_size": config.batch_size,
        "lr": config.training().lr,
        "precision": config.precision,
        "seed": config.seed,
        "eval_split": config.eval_split,
        **asdict(evaluation),
        "wall_s": round(wall_s, 1),
        "threads": torch.get_num_threads(),
        "hardware": told["hardware"] + (f", {ranks} ranks" if ranks > 1 else ""),
        "torch": told["torch"],
        "commit": told["commit"],
        "config_hash": config.hash(),
    }


def _new_model(config: RunConfig, task: Task, device: torch.device) -> SequenceModel:
    return SequenceModel(config.model(len(task.vocabulary))).to(device)


def _report_every(training: TrainingConfig) -> int:
    return max(1, training.steps // REPORTS_A_RUN)


def _trained(
    config: RunConfig,
    run: RunDirectory,
    device: torch.device,
    report: Callable[[RunConfig, StepReport], None],
    **options: Any,
) -> SequenceModel:
    """options: those of `train`."""
    task = config.build_task("train")
    model, training = _new_model(config, task, device), config.training()
    before = started = 0.0

    def on_start(step: int) -> None:
        nonlocal before, started
        run.trim_metrics(step)
        if step < training.steps:
            run.evaluation.unlink(missing_ok=True)  # of a model that is gone
        before, started = _wall_time(run), time.perf_counter()

    def on_report(told: StepReport) -> None:
        with run.metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(told) | {"wall_s": round(time.perf_counter() - started + before, 3)}) + "\n")
        report(config, told)

    try:
        train(
            model,
            task,
            training,
            checkpoint=run.checkpoint,
            report=on_report,
            report_every=_report_every(training),
            on_start=on_start,
            **options,
        )
    except DivergedError as error:
        write_json(run.failure, {"reason": str(error)})
        raise
    return model.eval()


def _own_evaluation(config: RunConfig, model: SequenceModel, run: RunDirectory) -> Evaluation:
    """The evaluation that the row reports.  It goes on from the last batch that an earlier start has counted, so that
    a run ends however short its turns are."""
    task = config.build_task(config.eval_split)

    def keep(first: int, *told: Any) -> None:
        if first == 0:
            write_samples(run.samples, task, *told)

    return _evaluated(
        config,
        model,
        config.eval_samples,
        counted=run.counted(),
        on_decoded=keep,
        on_batch=lambda tally: write_json(run.evaluation, asdict(tally)),
    )


def _evaluated(config: RunConfig, model: SequenceModel, samples: int, **options: Any) -> Evaluation:
    """options: those of `evaluate`."""
    task = config.build_task(config.eval_split)
    batch = decode_batch(model.state_bits(task.max_length), model.device)
    samples = min(samples, task.problems or samples)
    return evaluate(model, task, samples, batch=batch, **options)


def _wall_time(run: RunDirectory) -> float:
    """Seconds of training so far, over all the times the run was started."""
    reports = run.reports()
    return float(reports[-1]["wall_s"]) if reports else 0.0
