"""Published gains of recurrent heads, as reported: results/published_heads.csv."""

from dataclasses import dataclass
from math import sqrt

from retrieval_gap.machine.errors import UsageError
from retrieval_gap.tables.texts import read_rows
from retrieval_gap.tables.values import count_in, share_in

from .results import RESULTS

TABLE = RESULTS / "published_heads.csv"
_TEXT = ("dataset", "metric", "model", "head", "base_from", "mark", "source")
_NORMAL = 1.96  # standard errors, for 95 %


@dataclass(frozen=True, kw_only=True)
class Gain:
    """A coupled model and its base, both single runs.  base: None if the source reports none.  base_from: who trained
    it.  mark: V if it was read in the source, S if in a summary."""

    dataset: str
    metric: str
    model: str
    head: str
    base_from: str
    mark: str
    source: str
    test_examples: int
    coupled: float
    base: float | None

    @property
    def difference(self) -> float | None:
        return None if self.base is None else self.coupled - self.base

    @property
    def reach(self) -> float:
        """Half of the 95 % interval of the difference of two accuracies that are not paired; 0 without a base."""
        if self.base is None:
            return 0.0
        variances = [share * (1 - share) / self.test_examples for share in (self.coupled, self.base)]
        return _NORMAL * sqrt(sum(variances))


def read_gains() -> list[Gain]:
    """Raises UsageError, with file and line, for an invalid table."""
    rows = read_rows(TABLE, (*_TEXT, "coupled", "base", "test_examples"))
    if not rows:
        raise UsageError(f"results table {TABLE} is empty")
    return [
        Gain(
            **{key: row[key] for key in _TEXT},
            test_examples=count_in(where, row, "test_examples"),
            coupled=share_in(where, row, "coupled"),
            base=share_in(where, row, "base") if row["base"] else None,
        )
        for where, row in rows
    ]
