"""Runs that differ in their seeds, as one point of a figure."""

from dataclasses import dataclass
from statistics import fmean
from typing import Generic, Protocol, TypeVar


class MeasuredRun(Protocol):
    """A row with an accuracy and the ends of its interval."""

    @property
    def accuracy(self) -> float: ...

    @property
    def low(self) -> float: ...

    @property
    def high(self) -> float: ...


RunT = TypeVar("RunT", bound=MeasuredRun)


@dataclass(frozen=True)
class Seeds(Generic[RunT]):
    """Their mean, and the envelope of their intervals: from the lowest end to the highest."""

    runs: tuple[RunT, ...]

    @property
    def accuracy(self) -> float:
        return fmean(run.accuracy for run in self.runs)

    @property
    def low(self) -> float:
        return min(run.low for run in self.runs)

    @property
    def high(self) -> float:
        return max(run.high for run in self.runs)
