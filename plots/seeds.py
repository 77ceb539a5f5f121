"""Runs that differ in their seeds, as one point of a figure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Generic, Protocol, TypeVar

from retrieval_gap.machine.errors import UsageError

# What a run is, besides its seed; a table may lack some.
IDENTITY = (
    "task", "family", "options", "mode", "n", "arch", "size", "embedding", "samples", "batch_size", "lr",
    "warmup_samples", "max_grad_norm", "precision", "curriculum", "eval_split",
)  # fmt: skip
# What a row of a test elsewhere, or of a probe, is besides.
_MEASURED = ("tested_on", "tested_n", "tested_options", "answer", "rounding")
_UNSAID = {"precision": "fp32"}
# Empty in rows of before there was such a column: it may be as in any other row.
LATER = ("warmup_samples", "max_grad_norm")


@dataclass(frozen=True)
class Identity:
    """What a row is of.  where: its file and line.  settings: columns with their values, all but the seed."""

    where: str
    seed: str
    settings: tuple[tuple[str, str], ...]

    def without(self, column: str) -> "Identity":
        """The same but for one of the settings."""
        return replace(self, settings=tuple(pair for pair in self.settings if pair[0] != column))


def identity_of(where: str, row: Mapping[str, str], more: Sequence[str] = ()) -> Identity:
    """more: columns that tell apart the rows of this kind of table alone."""
    columns = [column for column in (*IDENTITY, *_MEASURED, *more) if column in row]
    return Identity(where, row.get("seed", ""), tuple((c, row[c] or _UNSAID.get(c, "")) for c in columns))


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


def check_seeds(identities: Iterable[Identity]) -> None:
    """Raises UsageError, with lines and column, unless these rows differ in their seed and in nothing else: a mean over
    other settings would be the accuracy of no model."""
    seen: dict[str, Identity] = {}
    for each in identities:
        first = next(iter(seen.values()), each)
        for (column, value), (_, other) in zip(first.settings, each.settings, strict=True):
            if value != other and not (column in LATER and "" in (value, other)):
                raise UsageError(
                    f"{first.where} and {each.where} differ in {column} ({value or 'none'}, {other or 'none'}), not in "
                    "the seed alone, and cannot be one point; draw a table of one of them"
                )
        if each.seed in seen:
            raise UsageError(
                f"{seen[each.seed].where} and {each.where} are two rows of one configuration and seed; keep one of them"
            )
        seen[each.seed] = each


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
