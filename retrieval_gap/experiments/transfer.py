"""Tests runs on families, problem sizes and options that they were not trained on: what they learned, not only whether.

Accuracy is per answer, unless answers are open: a model that solves its own family by a shortcut gives one answer to
nearly everything elsewhere, right for one class and wrong for the other.
"""

import copy
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from retrieval_gap.experiments.of_run import OfRun, saved_run
from retrieval_gap.machine import environment
from retrieval_gap.machine.errors import UsageError
from retrieval_gap.runs.directory import RunDirectory
from retrieval_gap.runs.experiment import Progress, Row, RunOptions
from retrieval_gap.statistics.intervals import wilson_interval
from retrieval_gap.tasks.api import Batch, Task, option_grid

if TYPE_CHECKING:
    from retrieval_gap.experiments.trained.config import RunConfig

FEW = 4  # answers of a test that are printed by themselves
# The contract of results/*_transfer.csv; `family`, `n` and `options` are what the run was trained on.
COLUMNS = (
    "task", "family", "tested_on", "answer", "mode", "n", "tested_n", "options", "tested_options", "arch", "size",
    "embedding", "parameters", "samples", "batch_size", "lr", "warmup_samples", "max_grad_norm", "precision",
    "curriculum", "seed", "eval_split", "accuracy", "accuracy_low", "accuracy_high", "accuracy_strict", "exact_trace",
    "undecided", "eval_samples", "hardware", "torch", "commit", "config_hash",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Transfer(OfRun):
    """Where a run is tested: every family at every size with every change of options.

    families, ns: none means all families of the task, and the run's own n.
    changes: options that replace the run's own, such as "order=last" or "lag=2,4"; the run's own are always tested
    too.
    samples: how many per test, from the split that the run reports; 0 means as many as the run's own.
    """

    kind: ClassVar[str] = "transfer"
    columns: ClassVar[Sequence[str]] = COLUMNS
    measures: ClassVar[Sequence[str]] = ("accuracy", "exact_trace")

    families: tuple[str, ...] = ()
    ns: tuple[int, ...] = ()
    changes: tuple[str, ...] = ()
    samples: int = 0

    def tasks(self, config: "RunConfig") -> list[Task]:
        """The tests.  Raises UsageError or TaskError for one that does not exist, or that the model cannot read."""
        trained_on = config.build_task(config.eval_split)
        changes = [change for text in self.changes for change in option_grid(type(trained_on), text)]
        tasks = [
            replace(config, family=family, n=n, options=f"{config.options} {change}").build_task(config.eval_split)
            for family in self.families or trained_on.families
            for change in ("", *changes)
            for n in self.ns or (config.n,)
        ]
        for task in tasks:
            if task.vocabulary != trained_on.vocabulary:
                told = f"n = {task.config.n} {task.config.options}".rstrip()
                raise UsageError(
                    f"{config.label()} cannot be tested on {told}: its tokens are others (docs/results.md says which "
                    "tasks have the same tokens at all sizes, some with an option such as --names 16)"
                )
        return list({task.config: task for task in tasks}.values())  # a change may be to what the run has

    def validate(self) -> None:
        super().validate()
        self.tasks(saved_run(RunDirectory(Path(self.run_dir)))[0])

    def filter_values(self) -> Mapping[str, Any]:
        return {"run": self.run, "samples": self.samples}

    def shown_values(self, row: Row) -> dict[str, str]:
        return {
            "tested on": f"{row['tested_on']} {row['tested_options']}".strip(),
            "tested n": str(row["tested_n"]),
            "answer": row["answer"],
            "accuracy": f"{row['accuracy']:.3f}",
            "95 %": f"{row['accuracy_low']:.3f}-{row['accuracy_high']:.3f}",
            "exact": f"{row['exact_trace']:.3f}",
            "undecided": f"{row['undecided']:.3f}",
            "samples": f"{row['eval_samples']:,}",
        }

    def shown_rows(self, rows: Sequence[Row]) -> list[Mapping[str, str]]:
        """A line for each test, answers pooled, and one for each of its answers if there are few."""
        tests: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
        for row in rows:
            tests[row["tested_on"], row["tested_options"], row["tested_n"]].append(row)
        shown = [each for parts in tests.values() for each in (_pooled(parts), *parts * (1 < len(parts) <= FEW))]
        return [self.shown_values(row) for row in shown]

    def progress(self, run: RunDirectory) -> Progress:
        return Progress(done=0, total=1, unit="tests", doing="testing")

    def execute(self, run: RunDirectory, options: RunOptions) -> list[Row]:
        return list(_rows(self))


EXPERIMENT = Transfer


def _pooled(parts: Sequence[Row]) -> Row:
    """One row of the rows of a test, which have an answer each."""
    samples = sum(part["eval_samples"] for part in parts)
    means = {
        column: sum(part[column] * part["eval_samples"] for part in parts) / samples
        for column in ("accuracy", "accuracy_strict", "exact_trace", "undecided")
    }
    low, high = wilson_interval(means["accuracy"], samples)
    told = {"answer": "all", "accuracy_low": low, "accuracy_high": high, "eval_samples": samples}
    return parts[0] | means | told


def _rows(elsewhere: Transfer) -> Iterator[Row]:
    from retrieval_gap.decoding.evaluation import decode_batch, evaluate
    from retrieval_gap.experiments.trained.run import Trained, described, load_model

    config, model, progress = load_model(RunDirectory(Path(elsewhere.run_dir)))
    trained_on = config.build_task(config.eval_split)
    same = described(config, trained_on, Trained(model, progress.step * config.batch_size)) | environment.measured_on()
    # All tasks are built before the first is decoded, so that a test that does not exist fails early.
    for task in elsewhere.tasks(config):
        batch, samples = decode_batch(model.state_bits(task.max_length)), elsewhere.samples or config.eval_samples
        tested = {"tested_on": task.family, "tested_n": task.config.n, "tested_options": task.config.options}
        for answer, part, count in _by_answer(task, task.to_evaluate(samples)):
            row = same | tested | {"answer": answer} | asdict(evaluate(model, part, count, batch=batch))
            yield {column: row[column] for column in COLUMNS}


def _by_answer(task: Task, samples: int) -> Iterator[tuple[str, Task, int]]:
    """Each answer, the task with only its samples, and their number; all samples with answer "" if answers are open."""
    if task.open_answers:
        yield "", task, samples
        return
    answer_B = task.sample(np.arange(samples)).answer_B
    for answer in task.answers:
        number_B = np.flatnonzero(answer_B == answer)
        if len(number_B):
            yield task.vocabulary[answer], _only(task, number_B), len(number_B)


def _only(task: Task, number_B: NDArray[np.int64]) -> Task:
    """The task with only these samples, numbered from 0."""
    chosen, every = copy.copy(task), task.sample

    def sample(index_B: NDArray[np.int64]) -> Batch:
        return every(number_B[index_B])

    chosen.sample = sample  # type: ignore[method-assign]
    return chosen
