"""Tables of probes: accuracy of runs when only so many bits of their state are carried on, and the bounds beside it."""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, TypeVar

from matplotlib import colormaps
from matplotlib.colors import to_hex

from retrieval_gap.about import MeasuredState, StateKind, about, state_kind
from retrieval_gap.machine.errors import UsageError
from retrieval_gap.tables.identity import Identity, identity_of
from retrieval_gap.tasks.api import Task, TaskConfig, TaskError
from retrieval_gap.tasks.registry import load_task
from retrieval_gap.theory.bounds import Bound, bound_of

from .kept import number_of
from .results import RESULTS, count_in, count_or_none, read_rows, share_in
from .seeds import Seeds
from .style import VIEWS

DEMO_PROBE = RESULTS / "theory_demo_probe.csv"
BITS_CARRIED = "bits of state carried from the sequence to the question"
_TEXT = ("task", "family", "mode", "options", "arch", "size", "hardware")
_COUNTS = ("n", "seed", "samples", "eval_samples", "rank", "state_bits", "bits_used", "bits_used_low")
# Columns of shares, and what a row calls them.
_SHARES = {"accuracy_strict": "accuracy", "strict_low": "low", "strict_high": "high"}
_COLUMNS = (*_TEXT, *_COUNTS, *_SHARES, "bits", "bits_used_high")


class Carrier(Protocol):
    """An accuracy with so many bits carried."""

    @property
    def state_bits(self) -> float: ...

    @property
    def accuracy(self) -> float: ...


CarrierT = TypeVar("CarrierT", bound=Carrier)


@dataclass(frozen=True, kw_only=True)
class ProbedRow:
    """One row: a run with `state_bits` carried.  Shares are strict, with their 95 % Wilson interval.

    bits: of an element or component; None for the unquantised state.  bits_used_high: None if no row is that certain.
    bits_per_token: what a token adds to the unquantised state; None if the table does not have it.
    """

    task: str
    family: str
    mode: str
    options: str
    n: int
    arch: str
    size: str
    seed: int
    samples: int
    eval_samples: int
    bits: int | None
    rank: int
    state_bits: int
    accuracy: float
    low: float
    high: float
    bits_used: int
    bits_used_low: int
    bits_used_high: int | None
    hardware: str
    identity: Identity
    bits_per_token: int | None = None

    @property
    def problem(self) -> tuple[str, str, str]:
        """Task, family and options: what the bound depends on besides n."""
        return self.task, self.family, self.options


@dataclass(frozen=True)
class ProbedMean(Seeds[ProbedRow]):
    """The seeds of one model with the same bits carried: their mean, and the envelope of their intervals."""

    @property
    def state_bits(self) -> int:
        return self.runs[0].state_bits

    @property
    def as_it_is(self) -> bool:
        return self.runs[0].bits is None


@dataclass(frozen=True, kw_only=True)
class Probes:
    """A table's rows, in its order.  names_family: whether another part of the table differs only in the family."""

    path: Path
    rows: list[ProbedRow]
    left_out: tuple[str, ...] = ()
    names_family: bool = False

    def only(self, keep: Callable[[ProbedRow], bool], what: str) -> "Probes":
        """The rows that are kept; a model without any goes into `left_out`.  Raises UsageError, naming `what` they are,
        if there is none."""
        kept = [row for row in self.rows if keep(row)]
        if not kept:
            raise UsageError(f"results table {self.path} has no row of {what}, so there is nothing to draw")
        dropped = sorted({(row.arch, row.mode) for row in self.rows} - {(row.arch, row.mode) for row in kept})
        names = [f"{about(arch).name} ({self.why_not_drawn(arch, mode)})" for arch, mode in dropped]
        return replace(self, rows=kept, left_out=(*self.left_out, *names))

    @cached_property
    def states(self) -> dict[str, StateKind]:
        """For each architecture, whether its unquantised state has one size whatever the context."""
        seen: dict[str, list[MeasuredState]] = defaultdict(list)
        for row in self.rows:
            if row.bits is None:
                key = (row.task, row.family, row.mode, row.size)
                seen[row.arch].append(MeasuredState(key, row.n, row.state_bits, row.bits_per_token))
        return {arch: state_kind(arch, seen[arch]) for arch in {row.arch for row in self.rows}}

    def why_not_drawn(self, arch: str, mode: str) -> str:
        """Why a model is not in figures of direct answers from a state of fixed size."""
        if mode != "direct":
            return f"{VIEWS.get(mode, mode).lower()}"
        return {"grows": "its state grows", "": "whether its state grows is not known"}.get(self.states[arch], mode)

    def by_task(self) -> list["Probes"]:
        """A part per task, family and options: rows of one n then have one bound."""
        problems = dict.fromkeys(row.problem for row in self.rows)
        tasks = Counter((task, options) for task, _, options in problems)
        return [
            replace(
                self,
                rows=[row for row in self.rows if row.problem == problem],
                names_family=tasks[problem[0], problem[2]] > 1,
            )
            for problem in problems
        ]

    @property
    def ns(self) -> list[int]:
        return sorted({row.n for row in self.rows})

    @cached_property
    def means(self) -> list[ProbedMean]:
        """Means of rows that differ only in the seed, by rising bits."""
        alike: dict[tuple[Any, ...], list[ProbedRow]] = defaultdict(list)
        for row in self.rows:
            alike[row.problem, row.n, row.arch, row.size, row.bits, row.rank, row.state_bits].append(row)
        return sorted((ProbedMean(tuple(rows)) for rows in alike.values()), key=lambda mean: mean.state_bits)

    @property
    def seeds(self) -> str:
        """Number of seeds in a mean, such as `3 seeds` or `1 to 3 seeds`."""
        return number_of({len(mean.runs) for mean in self.means}, "seed")

    def bound(self, n: int) -> Bound:
        """The bound of the rows of this n.  Raises UsageError if they are not of one task, family and options."""
        problems = list(dict.fromkeys(row.problem for row in self.rows if row.n == n))
        if len(problems) > 1:
            one, other = (" ".join(filter(None, problem)) for problem in problems[:2])
            raise UsageError(
                f"results table {self.path} has rows of n = {n} of {one} and of {other}, whose bounds differ; draw one "
                "at a time"
            )
        task, family, options = problems[0]
        where = next(row.identity.where for row in self.rows if row.n == n)
        return bound_of(task_of(where, task, TaskConfig(n=n, family=family, options=options)))


def task_of(where: str, name: str, config: TaskConfig) -> Task:
    """The task of a row at `where`, a file and line.  Raises UsageError, with that place, if it cannot be loaded: a
    user's file that is not on this machine, or has changed."""
    try:
        return load_task(name)(config)
    except (TaskError, OSError) as error:
        raise UsageError(f"{where}: {error}") from error


def frontier(points: Iterable[CarrierT]) -> list[CarrierT]:
    """Among points by rising bits, those that are better than all others with no more bits."""
    best: list[CarrierT] = []
    for point in points:
        if best and point.state_bits == best[-1].state_bits and point.accuracy > best[-1].accuracy:
            best.pop()
        if not best or point.accuracy > best[-1].accuracy:
            best.append(point)
    return best


def places(points: Sequence[Carrier]) -> tuple[list[float], list[float]]:
    return [point.state_bits for point in points], [point.accuracy for point in points]


def least_bits(bound: Bound, accuracy: float) -> int:
    """The fewest bits whose ceiling reaches this accuracy."""
    return bisect_left(range(int(bound.bits_needed) + 1), accuracy, key=lambda bits: float(bound.ceiling(bits)))


def colours_of(ns: list[int]) -> dict[int, str]:
    """Dark for the smallest n to light for the largest, distinguished by lightness alone."""
    steps = [0.0] if len(ns) == 1 else [0.82 * i / (len(ns) - 1) for i in range(len(ns))]
    return {n: to_hex(colormaps["viridis"](step)) for n, step in zip(ns, steps, strict=True)}


def title_of(probes: Probes) -> str:
    """The task with its options, such as `Index (values=4)`; with its family if only that distinguishes it."""
    row = probes.rows[0]
    told = ", ".join(filter(None, [f"family {row.family}" if probes.names_family else "", row.options]))
    return row.task.replace("_", " ").capitalize() + (f" ({told})" if told else "")


def read_probes(path: Path) -> Probes:
    """Raises UsageError for a table that is absent, empty, lacks a column or holds an impossible value."""
    rows = [_measured(where, row) for where, row in read_rows(path, _COLUMNS, "probe RUN_DIR... --csv FILE")]
    if not rows:
        raise UsageError(f"results table {path} is empty; `retrieval-gap probe RUN_DIR... --csv FILE` makes one")
    return Probes(path=path, rows=rows)


def _measured(where: str, row: dict[str, str]) -> ProbedRow:
    optional = {key: count_or_none(where, row, key) for key in ("bits", "bits_used_high")}
    values: dict[str, Any] = {key: row[key] for key in _TEXT} | optional
    values |= {key: count_in(where, row, key) for key in _COUNTS}
    values["bits_per_token"] = count_or_none(where, row, "state_bits_per_token")
    values |= {name: share_in(where, row, key) for key, name in _SHARES.items()}
    return ProbedRow(identity=identity_of(where, row), **values)
