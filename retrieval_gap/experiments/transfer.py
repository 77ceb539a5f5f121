"""What is learned, not only whether: runs tested on families of problems that they were not trained on, by answer.

A model that knows its own family's problems by a shortcut gives one answer to nearly everything elsewhere: right on one
class, wrong on the other.
"""

import copy
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from retrieval_gap import environment
from retrieval_gap.errors import UsageError
from retrieval_gap.evaluation import decode_batch, evaluate
from retrieval_gap.experiments.run import RunDirectory, load_model
from retrieval_gap.experiments.tables import Row, write_table
from retrieval_gap.files import make_room_for
from tasks.api import Batch, Task

# The contract of results/*_transfer.csv; `family` is what the run was trained on.
COLUMNS = (
    "task", "family", "tested_on", "answer", "mode", "n", "options", "arch", "size", "embedding", "samples", "lr",
    "seed", "eval_split", "accuracy", "accuracy_low", "accuracy_high", "accuracy_strict", "exact_trace", "undecided",
    "eval_samples", "hardware", "torch", "commit", "config_hash",
)  # fmt: skip


def transfer_runs(runs: Sequence[RunDirectory], families: Sequence[str], samples: int | None, csv: Path | None) -> None:
    """Prints one JSON object for each run, family and answer; with `csv`, replaces that table.

    families: none means all of the task.  samples: of each family, None means as many as the run's own; they are of
    the split that the run reports.
    Raises UsageError for no run, a run without weights or a family that its task has not, RunError for a damaged run.
    """
    if not runs:
        raise UsageError("name one run directory or more")
    if csv is not None:
        make_room_for(csv)
    rows: list[Row] = []
    for run in runs:
        for row in _rows(run, families, samples):
            print(json.dumps(row), flush=True)
            rows.append(row)
    if csv is not None:
        write_table(csv, COLUMNS, rows)
        print(f"{len(rows)} rows written to {csv}")


def _rows(run: RunDirectory, families: Sequence[str], samples: int | None) -> Iterator[Row]:
    config, model, progress = load_model(run)
    trained_on = config.build_task(config.eval_split)
    machine = environment.describe()
    same = asdict(config) | {
        "family": trained_on.family,
        "options": trained_on.config.options,
        "samples": progress.step * config.batch_size,
        "lr": config.training().lr,
        "config_hash": config.hash(),
        **{key: machine[key] for key in ("hardware", "torch", "commit")},
    }
    # All are made before the first is decoded, so that a family that does not exist is told at once.
    tasks = [replace(config, family=name).build_task(config.eval_split) for name in families or trained_on.families]
    for task in tasks:
        batch = decode_batch(model.state_bits(task.max_length))
        answer_B = task.sample(np.arange(samples or config.eval_samples)).answer_B
        for answer in task.answers:
            number_B = np.flatnonzero(answer_B == answer)
            if len(number_B):
                told = evaluate(model, _only(task, number_B), len(number_B), batch=batch)
                named = {"tested_on": task.family, "answer": task.vocabulary[answer]}
                yield same | named | asdict(told)


def _only(task: Task, number_B: NDArray[np.int64]) -> Task:
    """The task with these samples alone, counted from 0."""
    chosen, every = copy.copy(task), task.sample

    def sample(index_B: NDArray[np.int64]) -> Batch:
        return every(number_B[index_B])

    chosen.sample = sample  # type: ignore[method-assign]
    return chosen
