"""Runs that differ in their seeds, as one point of a figure."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Generic, Protocol, TypedDict, TypeVar

from retrieval_gap.statistics.intervals import wilson_interval
from retrieval_gap.tables.identity import Identity, check_seeds


class ShareWithInterval(Protocol):
    """A share and its interval."""

    @property
    def accuracy(self) -> float: ...

    @property
    def low(self) -> float: ...

    @property
    def high(self) -> float: ...


class MeasuredRun(ShareWithInterval, Protocol):
    """A row with a share and its interval."""

    @property
    def identity(self) -> Identity: ...


class TestedRun(Protocol):
    """A row of a test on samples of one answer."""

    @property
    def identity(self) -> Identity: ...

    @property
    def accuracy(self) -> float: ...

    @property
    def eval_samples(self) -> int: ...


class Pooled(TypedDict):
    """What a row that pools all answers of a test has instead of theirs; `low` to `high`: 95 % Wilson interval."""

    identity: Identity
    accuracy: float
    low: float
    high: float
    eval_samples: int


TestT = TypeVar("TestT", bound=TestedRun)


def by_test(rows: Iterable[TestT]) -> list[list[TestT]]:
    """The rows of each test and seed, one for each answer."""
    tests: dict[Identity, list[TestT]] = defaultdict(list)
    for row in rows:
        tests[replace(row.identity.without("answer"), where="")].append(row)
    return list(tests.values())


def pooled(parts: Sequence[TestedRun]) -> Pooled:
    """Pool the answers of one test.  Raises UsageError if one occurs twice."""
    answers: dict[str, list[Identity]] = defaultdict(list)
    for part in parts:
        answers[dict(part.identity.settings)["answer"]].append(part.identity)
    for identities in answers.values():
        check_seeds(identities)
    samples = sum(part.eval_samples for part in parts)
    accuracy = sum(part.accuracy * part.eval_samples for part in parts) / samples
    low, high = wilson_interval(accuracy, samples)
    identity = parts[0].identity.without("answer")
    return Pooled(identity=identity, accuracy=accuracy, low=low, high=high, eval_samples=samples)


RunT = TypeVar("RunT", bound=MeasuredRun)


@dataclass(frozen=True)
class Seeds(Generic[RunT]):
    """The mean of several seeds, and the envelope of their intervals: from the lowest end to the highest.

    Raises UsageError as `check_seeds` does.
    """

    runs: tuple[RunT, ...]

    def __post_init__(self) -> None:
        check_seeds(run.identity for run in self.runs)

    @property
    def accuracy(self) -> float:
        return fmean(run.accuracy for run in self.runs)

    @property
    def low(self) -> float:
        return min(run.low for run in self.runs)

    @property
    def high(self) -> float:
        return max(run.high for run in self.runs)
