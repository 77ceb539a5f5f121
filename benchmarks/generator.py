"""Tokens a second of the IsTree generator on one core, beside a plain Python tracer.

    python -m benchmarks.generator

Ours draws the graphs, decides their split, traces, and fills the padded batch with its mask.  The plain
tracer (tasks/istree/oracle.py) is given its graphs and only writes tokens and mask, so the ratio favours it.
Both run in the same process, one after the other.
"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from tasks.api import Mode, TaskConfig
from tasks.istree import IsTree, oracle

SIZES = (16, 32, 64, 128)
_ROUNDS = 3
_SAMPLES, _PLAIN_SAMPLES = 4096, 64


def run(sizes: tuple[int, ...] | None = None) -> list[dict[str, Any]]:
    """One row for each family, view and size: name, ours, theirs, ratio, unit, against."""
    return [measure(family, mode, n) for family in IsTree.families for mode in IsTree.modes for n in sizes or SIZES]


def measure(family: str, mode: Mode, n: int) -> dict[str, Any]:
    """Best of a few rounds on fresh samples, for the generator and for the plain tracer."""
    task = IsTree(TaskConfig(n=n, family=family, mode=mode))
    graphs = [task.edges(row_L) for row_L in task.sample(np.arange(_PLAIN_SAMPLES)).tokens_BxL]
    ours = max(
        _speed(lambda r=r: int(task.sample(np.arange(_SAMPLES) + r * _SAMPLES).length_B.sum()))  # type: ignore[misc]
        for r in range(_ROUNDS)
    )
    theirs = max(_speed(lambda: sum(len(oracle.trace(edges, n, mode)[0]) for edges in graphs)) for _ in range(_ROUNDS))
    return {
        "name": f"istree {family} {mode} n={n}",
        "ours": ours,
        "theirs": theirs,
        "ratio": ours / theirs,
        "unit": "tokens/s",
        "against": "a plain Python tracer",
    }


def _speed(work: Callable[[], int]) -> float:
    """Tokens a second of work that returns how many tokens it made."""
    begin = time.perf_counter()
    tokens = work()
    return tokens / (time.perf_counter() - begin)


def main() -> None:
    for row in run():
        print(
            f"{row['name']:34} {row['ours'] / 1e6:7.1f} M {row['unit']}"
            f"  {row['theirs'] / 1e6:6.2f} M {row['against']}  {row['ratio']:6.1f}x",
            flush=True,
        )


if __name__ == "__main__":
    main()
