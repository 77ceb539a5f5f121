"""Tokens per second of the generators on one core, beside plain Python.

Ours draw the problems, decide their split, trace, and fill the padded batch with its mask.  The plain tracer of IsTree
(tasks/istree/oracle.py) is given its graphs and only writes tokens and mask, so the ratio favours it; the plain
samplers of the recall tasks (tasks/plain.py) draw their problems too, but have no splits.  Both run in the same
process, one after the other.
"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from retrieval_gap.tasks import plain
from retrieval_gap.tasks.api import Mode, Task, TaskConfig
from retrieval_gap.tasks.istree import IsTree, oracle
from retrieval_gap.tasks.registry import load_task

from . import row

SIZES = (16, 32, 64, 128)
RECALL_SIZES = (64, 256)
# MQAR at a size at which Zoology's own generator makes about 3,100 examples per second.
MQAR_SIZE = 256
_ROUNDS = 3
_SAMPLES, _PLAIN_SAMPLES = 4096, 64


def run(sizes: tuple[int, ...] | None = None) -> list[dict[str, Any]]:
    """One row for each family (or recall task), view and size: name, ours, theirs, ratio, unit, against."""
    rows = [measure(family, mode, n) for family in IsTree.families for mode in IsTree.modes for n in sizes or SIZES]
    rows += [
        measure_recall(name, mode, n)
        for name in plain.SAMPLERS
        for mode in load_task(name).modes
        for n in sizes or RECALL_SIZES
    ]
    return [*rows, measure_recall("mqar", "direct", MQAR_SIZE, unit="examples/s")]


def measure(family: str, mode: Mode, n: int) -> dict[str, Any]:
    """Best of a few rounds on fresh samples, for the generator and for the plain tracer."""
    task = IsTree(TaskConfig(n=n, family=family, mode=mode))
    graphs = [task.edges(row_L) for row_L in task.sample(np.arange(_PLAIN_SAMPLES)).tokens_BxL]
    theirs = max(_speed(lambda: sum(len(oracle.trace(edges, n, mode)[0]) for edges in graphs)) for _ in range(_ROUNDS))
    return row(f"istree {family} {mode} n={n}", _our_speed(task), theirs, "tokens/s", "a plain Python tracer")


def measure_recall(name: str, mode: Mode, n: int, unit: str = "tokens/s") -> dict[str, Any]:
    """The same, beside the plain sampler."""
    task, sampler, random = load_task(name)(TaskConfig(n=n, mode=mode)), plain.SAMPLERS[name], np.random.default_rng(0)
    count = (lambda words: 1) if unit == "examples/s" else len

    def draw() -> int:
        return sum(count(sampler(random, n, mode)[0]) for _ in range(_PLAIN_SAMPLES))

    theirs = max(_speed(draw) for _ in range(_ROUNDS))
    ours = _our_speed(task, unit)
    return row(f"{name} {mode} n={n}", ours, theirs, unit, "a plain Python sampler")


def _our_speed(task: Task, unit: str = "tokens/s") -> float:
    task.sample(np.arange(2))  # compiled

    def draw(first: int) -> int:
        length_B = task.sample(np.arange(first, first + _SAMPLES)).length_B
        return len(length_B) if unit == "examples/s" else int(length_B.sum())

    return max(_speed(lambda r=r: draw(r * _SAMPLES)) for r in range(_ROUNDS))  # type: ignore[misc]


def _speed(work: Callable[[], int]) -> float:
    """Items per second of `work`, which returns the number of items that it made."""
    begin = time.perf_counter()
    made = work()
    return made / (time.perf_counter() - begin)
