"""The rows of a table that a figure draws, and a description of those that it does not."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic, Self, TypeVar

from retrieval_gap.machine.errors import UsageError

RowT = TypeVar("RowT")


@dataclass(frozen=True)
class Kept(Generic[RowT]):
    """Rows of a table.  left_out: descriptions of its other rows, for a caption."""

    path: Path
    rows: tuple[RowT, ...]
    left_out: tuple[str, ...] = ()

    def only(self, keep: Callable[[RowT], bool], wanted: str, name: Callable[[RowT], str]) -> Self:
        """The rows that are kept.  name: describes a row that is not, such as `task index`.

        Raises UsageError, naming what is `wanted`, if none is kept.
        """
        rows = tuple(row for row in self.rows if keep(row))
        if not rows:
            raise UsageError(f"results table {self.path} has no {wanted}, so there is nothing to draw")
        return replace(
            self, rows=rows, left_out=(*self.left_out, *counted(name(row) for row in self.rows if not keep(row)))
        )


def counted(names: Iterable[str], what: str = "row") -> tuple[str, ...]:
    """The number of each name, such as `3 rows of task index`."""
    return tuple(f"{count} {what}{'s' if count > 1 else ''} of {name}" for name, count in Counter(names).items())


def spread(values: Iterable[int]) -> str:
    """One number, or the lowest to the highest."""
    found = sorted(set(values))
    return f"{found[0]:,}" if len(found) == 1 else f"{found[0]:,} to {found[-1]:,}"


def number_of(numbers: Collection[int], what: str) -> str:
    """Such as `1 seed`, `3 seeds` or `1 to 3 seeds`."""
    return f"{spread(numbers)} {what}" + ("s" if max(numbers) > 1 else "")
