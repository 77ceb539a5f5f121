"""The Python API: tasks, runs with their models, sweeps and tables; examples/quickstart.ipynb shows how to use it.

from retrieval_gap import RunConfig, load_run, load_task, train_run
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from retrieval_gap.choices import ChangedFiles, DeviceName
from retrieval_gap.decoding.decode import Decoded, decode
from retrieval_gap.decoding.evaluation import right_answers
from retrieval_gap.decoding.retrieval import make_retriever
from retrieval_gap.experiments.trained.config import RunConfig
from retrieval_gap.experiments.trained.defaults import with_defaults
from retrieval_gap.experiments.trained.run import execute, load_model
from retrieval_gap.inspection import attention_weights, states_after
from retrieval_gap.machine.devices import choose_device
from retrieval_gap.machine.errors import UsageError
from retrieval_gap.models import SequenceModel
from retrieval_gap.runs.directory import RunDirectory
from retrieval_gap.runs.experiment import Experiment, Row, RunOptions
from retrieval_gap.runs.known import finished_rows, planned_runs
from retrieval_gap.runs.sweep import SweepOptions
from retrieval_gap.runs.sweep import sweep as run_sweep
from retrieval_gap.runs.user_files import check_user_files
from retrieval_gap.tables.rows import read_table
from retrieval_gap.tasks.api import ENDSEARCH, STARTSEARCH, Batch, Mode, Split, Task, TaskConfig, questions_of
from retrieval_gap.tasks.registry import load_task as task_class
from retrieval_gap.theory.bounds import bound_of

__all__ = [
    "DecodedSample", "LoadedRun", "RunConfig", "RunOptions", "SweepOptions", "bound_of", "load_run", "load_task",
    "read_rows", "sweep", "train_run", "with_defaults",
]  # fmt: skip


def load_task(
    name: str,
    n: int,
    mode: Mode = "direct",
    *,
    family: str = "",
    split: Split = "test",
    seed: int = 0,
    options: str = "",
) -> Task:
    """Return a task by its name or `.py` file, at problem size n; `task.sample(np.arange(8))` is a batch of its traces.

    options: the task's own, such as "values=4".  Raises TaskError for an unknown name or an invalid value.
    """
    config = TaskConfig(n=n, mode=mode, family=family, split=split, seed=seed, options=options)
    return task_class(name)(config)


@dataclass(frozen=True, kw_only=True)
class DecodedSample:
    """One sample as decoded by a model.

    prompt, written: words; `written` includes the retriever's results.  gold: the correct continuation.  right: whether
    every answer is right.  searches: each query with its result, as words.  tokens_L: prompt and written, as token
    numbers.
    """

    prompt: list[str]
    written: list[str]
    gold: list[str]
    right: bool
    searches: list[tuple[list[str], list[str]]]
    tokens_L: NDArray[np.int32]
    model: SequenceModel = field(repr=False)

    @cached_property
    def states(self) -> list[list[Tensor]]:
        """State tensors after each token, without the axis of samples."""
        return states_after(self.model, self.tokens_L)

    @cached_property
    def attention(self) -> list[Tensor]:
        """Attention weights HxLxL of each attention layer: rows are the reading tokens, columns the tokens read."""
        return attention_weights(self.model, self.tokens_L)


@dataclass(frozen=True, kw_only=True)
class LoadedRun:
    """A run's configuration, its model as last saved, and its task on the evaluation split.

    samples: number of samples that the model was trained on.
    """

    path: Path
    config: RunConfig
    model: SequenceModel
    task: Task
    samples: int

    def decode(self, k: int) -> DecodedSample:
        """Decode sample k of the split freely, executing each search.  Raises ValueError for a negative k."""
        if k < 0:
            raise ValueError(f"samples are numbered from 0, and {k} is asked for")
        gold = self.task.sample(np.array([k]))
        retriever = make_retriever(self.task) if self.task.config.mode == "rag" else None
        decoded = decode(
            self.model,
            gold.tokens_BxL,
            gold.prompt_len_B,
            questions_of(gold, self.task),
            answers=self.task.answers,
            max_length=self.task.max_length,
            retriever=retriever,
        )
        return self._told(gold, decoded)

    def _told(self, gold: Batch, decoded: Decoded) -> DecodedSample:
        prompt, words = int(gold.prompt_len_B[0]), self.task.vocabulary
        tokens_L = decoded.tokens_BxL[0, : decoded.length_B[0]]
        spelled = [words[token] for token in tokens_L]
        return DecodedSample(
            prompt=spelled[:prompt],
            written=spelled[prompt:],
            gold=[words[token] for token in gold.tokens_BxL[0, prompt : gold.length_B[0]]],
            right=bool(right_answers(decoded, gold, self.task).all()),
            searches=_searches(tokens_L, prompt, self.task) if self.task.config.mode == "rag" else [],
            tokens_L=tokens_L,
            model=self.model,
        )


def load_run(path: Path | str, *, device: DeviceName = "cpu", changed_files: ChangedFiles = "refuse") -> LoadedRun:
    """Load the model of a run directory, with its task.

    changed_files: what to do if one of the user's files has changed since the run was made.
    Raises UsageError or RunError if there is no model, or its files have changed.
    """
    run = RunDirectory(Path(path))
    check_user_files([run.path], changed_files)
    config, model, progress = load_model(run, choose_device(device))
    return LoadedRun(
        path=run.path,
        config=config,
        model=model,
        task=config.build_task(config.eval_split),
        samples=progress.step * config.batch_size,
    )


def train_run(config: RunConfig, options: RunOptions | None = None) -> Row:
    """Train and evaluate one model; return its row.  Resumes an interrupted run; a finished one is only read back.

    Raises UsageError or TaskError for an invalid configuration, RunError if the run fails.
    """
    if not isinstance(config, RunConfig):
        raise UsageError(f"train_run takes a RunConfig, not a {type(config).__name__}")
    return execute(config, options or RunOptions())


def sweep(cells: Sequence[Experiment], run: RunOptions | None = None, options: SweepOptions | None = None) -> list[Row]:
    """Run the cells of a grid, as the command does; return the rows of all finished cells.

    Call it below `if __name__ == "__main__":` if the script itself defines the class of the cells; otherwise no guard
    is needed.
    Raises UsageError or TaskError for an invalid cell, RunError if one failed.
    """
    run = run or RunOptions()
    wrong = [cells] if isinstance(cells, (Experiment, str)) else [c for c in cells if not isinstance(c, Experiment)]
    if wrong:
        raise UsageError(f"sweep takes a list of experiments, such as RunConfig(...), not a {type(wrong[0]).__name__}")
    run_sweep(cells, options or SweepOptions(), run)
    return finished_rows(planned_runs(cells, run.runs_dir))


def read_rows(path: Path | str) -> list[Row]:
    """Return the rows of a table of runs, CSV or Parquet, numbers parsed.  Raises UsageError for an invalid table."""
    return [source.row for source in read_table(Path(path))]


def _searches(tokens_L: NDArray[np.int32], prompt: int, task: Task) -> list[tuple[list[str], list[str]]]:
    """Each query between its brackets, with the retriever's result."""
    retriever, words, found = make_retriever(task), task.vocabulary, []
    for end in np.flatnonzero(tokens_L == ENDSEARCH):
        starts = np.flatnonzero(tokens_L[:end] == STARTSEARCH)
        if end < prompt or not len(starts):
            continue
        result_1xR = retriever(tokens_L[None, : end + 1], np.array([end + 1], np.int32))
        query = [words[token] for token in tokens_L[starts[-1] + 1 : end]]
        found.append((query, [words[token] for token in result_1xR[0]]))
    return found
