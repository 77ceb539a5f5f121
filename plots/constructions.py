"""The table of constructions, and beside it the trained models and bounds of the same problems."""

from collections import defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import Self

from retrieval_gap.machine.errors import UsageError
from retrieval_gap.tables.identity import identity_of
from retrieval_gap.tables.values import number_in
from retrieval_gap.tasks.api import TaskConfig
from retrieval_gap.theory.bounds import bound_of

from .kept import Kept
from .probes import least_bits, task_of
from .results import RESULTS, count_in, read_rows, share_in

CONSTRUCTIONS = RESULTS / "constructions.csv"
# Committed tables of trained models: the recall tasks, and IsTree.
TRAINED = tuple(RESULTS / name for name in (
    "theory_cpu.csv", "theory_demo.csv", "istree_cpu.csv", "istree_tuned.csv", "smallest_lstm.csv",
))  # fmt: skip
WANTED = 0.9
_PREFIX = "constructed_"
_TEXT = ("task", "family", "mode", "options", "arch", "size")
_COUNTS = ("n", "seed", "state_bits")
_OWN_COUNTS = ("recurrent_bits", "context_tokens", "precision_bits")


@dataclass(frozen=True, kw_only=True)
class Built:
    """A row about a construction.  how: such as "rnn_rag".  machine_steps: steps of a Turing machine, else 0.  where:
    its file and line."""

    task: str
    family: str
    options: str
    n: int
    how: str
    accuracy: float
    exact_trace: float
    state_bits: int
    recurrent_bits: int
    context_tokens: int
    steps: float
    machine_steps: int
    samples: int
    where: str = field(default="", compare=False)

    @property
    def is_exact(self) -> bool:
        return self.accuracy == 1 and self.exact_trace == 1


@dataclass(frozen=True, kw_only=True)
class TrainedSeeds:
    """A trained model: the mean accuracy of its seeds."""

    task: str
    family: str
    mode: str
    options: str
    n: int
    arch: str
    size: str
    state_bits: int
    accuracy: float


@dataclass(frozen=True)
class ConstructionTable(Kept[Built]):
    """The rows of a table of constructions."""

    def of(self, task: str) -> list[Built]:
        """The rows of a task, in its first family and its most frequent options."""
        rows = [row for row in self.rows if row.task == task]
        if not rows:
            return []
        families = dict.fromkeys(row.family for row in rows)
        options = [row.options for row in rows]
        common = max(dict.fromkeys(options), key=options.count)
        return [row for row in rows if row.family == next(iter(families)) and row.options == common]

    def drawn(self, ways: Mapping[str, Container[str]]) -> Self:
        """The exact rows of these tasks that are built in these ways, in the family and options of `of` (for Turing
        machines: all).

        Raises UsageError if there is none.
        """
        shown = {row for task in ways for row in self.of(task)} | {row for row in self.rows if row.machine_steps}

        def why_not(row: Built) -> str:
            if row.task not in ways:
                return f"task {row.task}"
            if row not in shown:
                return f"other families or options of {row.task}"
            if row.how not in ways[row.task]:
                return f"construction {row.how} of {row.task}"
            return "" if row.is_exact else "constructions that are not exact"

        return self.only(lambda row: not why_not(row), "exact construction of a task of this figure", why_not)

    @cached_property
    def trained(self) -> list[TrainedSeeds]:
        """Models of those committed tables that exist."""
        return list(_means(path for path in TRAINED if path.exists()))

    def reached(self, row: Built) -> list[TrainedSeeds]:
        """For each trained architecture and view, on the problem of this row: the model with an accuracy of `WANTED` or
        more at the largest n, and with the smallest state there."""
        best: dict[tuple[str, str], TrainedSeeds] = {}
        for model in self.trained:
            same = (model.task, model.family, model.options) == (row.task, row.family, row.options)
            if same and model.accuracy >= WANTED:
                key = (model.arch, model.mode)
                if key not in best or (model.n, -model.state_bits) > (best[key].n, -best[key].state_bits):
                    best[key] = model
        return list(best.values())


def least_state(row: Built, ns: Sequence[int]) -> list[int]:
    """For each n, the fewest bits with which a reader that does not search can answer `WANTED` of the problems."""
    configs = (TaskConfig(n=n, family=row.family, options=row.options) for n in ns)
    return [least_bits(bound_of(task_of(row.where, row.task, config)), WANTED) for config in configs]


def read_table(path: Path) -> ConstructionTable:
    """Raises UsageError for a table that is absent, empty, lacks a column or holds an impossible value."""
    columns = [*_TEXT, *_COUNTS, *_OWN_COUNTS, "accuracy", "exact_trace", "steps", "machine_steps", "eval_samples"]
    rows = tuple(_built(where, row) for where, row in read_rows(path, columns, "sweep constructions --csv FILE"))
    if not rows:
        raise UsageError(f"results table {path} is empty; `retrieval-gap sweep constructions --csv FILE` makes one")
    return ConstructionTable(path, rows)


def _built(where: str, row: dict[str, str]) -> Built:
    counts = {key: count_in(where, row, key) for key in ("n", "state_bits", "recurrent_bits", "context_tokens")}
    return Built(
        task=row["task"],
        family=row["family"],
        options=row["options"],
        how=row["arch"].removeprefix(_PREFIX),
        accuracy=share_in(where, row, "accuracy"),
        exact_trace=share_in(where, row, "exact_trace"),
        steps=number_in(where, row, "steps"),
        machine_steps=count_in(where, row, "machine_steps") if row["machine_steps"] else 0,
        samples=count_in(where, row, "eval_samples"),
        where=where,
        **counts,
    )


def _means(paths: Iterable[Path]) -> Iterable[TrainedSeeds]:
    """Means over rows that differ only in their seed; a run may be in several tables."""
    alike: dict[tuple[tuple[str, str], ...], dict[str, tuple[float, int]]] = defaultdict(dict)
    for path in paths:
        for where, row in read_rows(path, [*_TEXT, "n", "seed", "state_bits", "accuracy"]):
            told = share_in(where, row, "accuracy"), count_in(where, row, "state_bits")
            alike[identity_of(where, row).settings][row["seed"]] = told
    for settings, found in alike.items():
        named = dict(settings)
        yield TrainedSeeds(
            **{name: named[name] for name in _TEXT},
            n=int(named["n"]),
            state_bits=next(bits for _, bits in found.values()),
            accuracy=fmean(share for share, _ in found.values()),
        )
