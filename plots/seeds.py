"""Runs that differ in their seeds, as one point of a figure."""

from dataclasses import dataclass
from statistics import fmean
from typing import Generic, Protocol, TypeVar

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
    """A row with them."""

    @property
    def identity(self) -> Identity: ...


RunT = TypeVar("RunT", bound=MeasuredRun)


@dataclass(frozen=True)
class Seeds(Generic[RunT]):
    """Their mean, and the envelope of their intervals: from the lowest end to the highest.

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
