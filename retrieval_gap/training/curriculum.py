"""Training on smaller problems first: every size has an equal share of the steps, and the last size is the run's own.

The samples come from each size's task; their tokens get the numbers that the largest size gives to the same roles.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from retrieval_gap.machine.errors import UsageError
from retrieval_gap.tasks.api import Batch, Task
from retrieval_gap.training.config import TrainingConfig

BETWEEN = "+"


class TrainingData(Protocol):
    """What a loop trains on: a task, or a `Curriculum` of them."""

    @property
    def max_length(self) -> int:
        """Tokens of the longest sample."""
        ...

    def sample(self, indices: NDArray[np.int64], /) -> Batch:
        """The samples with these numbers, all of one training step."""
        ...


def sizes_of(curriculum: str, n: int) -> tuple[int, ...]:
    """The problem sizes of a curriculum such as "4+8" in order, then the run's own size n.

    Raises UsageError if they do not rise to n.
    """
    try:
        sizes = (*map(int, curriculum.split(BETWEEN) if curriculum else []), n)
    except ValueError:
        sizes = (0, 0)
    if any(after <= before for before, after in pairwise(sizes)):
        raise UsageError(
            f"--curriculum {curriculum!r} is invalid: expected rising problem sizes below {n}, such as 4+8"
        )
    return sizes


def stage_steps(stages: int, steps: int) -> list[int]:
    """The number of training steps of each problem size, in order."""
    starts = [math.ceil(stage * steps / stages) for stage in range(stages + 1)]
    return [after - before for before, after in pairwise(starts)]


class Curriculum:
    """Tasks of rising sizes, each for an equal share of the training steps."""

    def __init__(self, tasks: Sequence[Task], config: TrainingConfig) -> None:
        """Raises UsageError for a task with a token whose role the last task lacks."""
        self._tasks, self._config = tasks, config
        numbers = {role: number for number, role in enumerate(tasks[-1].roles)}
        for task in tasks:
            missing = [role for role in task.roles if role not in numbers]
            if missing:
                small, large = task.config.n, tasks[-1].config.n
                raise UsageError(f"--curriculum: n = {small} has a token that n = {large} lacks: {missing[0]}")
        self._number_of_V = [np.array([numbers[role] for role in task.roles], np.int32) for task in tasks]

    @property
    def max_length(self) -> int:
        return max(task.max_length for task in self._tasks)

    def sample(self, indices: NDArray[np.int64], /) -> Batch:
        """Axes as in `Batch`; V tokens of a vocabulary."""
        step = int(indices[0]) // self._config.batch_size
        stage = step * len(self._tasks) // self._config.steps
        batch, number_of_V = self._tasks[stage].sample(indices), self._number_of_V[stage]
        return replace(batch, tokens_BxL=number_of_V[batch.tokens_BxL], answer_B=number_of_V[batch.answer_B])
