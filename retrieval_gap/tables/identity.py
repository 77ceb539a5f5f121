"""What a row of a table is of: its setting, by which tables are paired, and all else that a run is besides its seed."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeVar

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
TEST = "test"  # the split that rows are of where a table does not tell, and published values always

RunT = TypeVar("RunT")


class Setting(NamedTuple):
    """What tables are paired by; seeds and how a model was trained are not part of it."""

    task: str
    family: str
    mode: str
    n: int
    options: str
    arch: str
    size: str
    eval_split: str = TEST


@dataclass(frozen=True)
class Identity:
    """What a row is of.  where: its file and line.  settings: columns with their values, all but the seed."""

    where: str
    seed: str
    settings: tuple[tuple[str, str], ...]

    @property
    def setting(self) -> Setting:
        """Of a row that tells its task, family, view, n and model."""
        told = dict(self.settings)
        task, family, mode, arch, size = (told[key] for key in ("task", "family", "mode", "arch", "size"))
        return Setting(task, family, mode, int(told["n"]), told.get("options", ""), arch, size, self.split)

    @property
    def split(self) -> str:
        """Of whose samples it was measured."""
        return dict(self.settings).get("eval_split") or TEST

    def without(self, column: str) -> "Identity":
        """The same but for one of the settings."""
        return replace(self, settings=tuple(pair for pair in self.settings if pair[0] != column))


def identity_of(where: str, row: Mapping[str, Any], more: Sequence[str] = ()) -> Identity:
    """more: columns that tell apart the rows of this kind of table alone."""
    told = {column: "" if value is None else str(value) for column, value in row.items()}
    columns = [column for column in (*IDENTITY, *_MEASURED, *more) if column in told]
    return Identity(where, told.get("seed", ""), tuple((c, told[c] or _UNSAID.get(c, "")) for c in columns))


def longest(runs: Iterable[RunT], samples: Callable[[RunT], int]) -> list[RunT]:
    """Those that were trained on the most samples."""
    runs = list(runs)
    most = max(map(samples, runs))
    return [run for run in runs if samples(run) == most]


def check_seeds(identities: Iterable[Identity], remedy: str = "draw a table of one of them") -> None:
    """Raises UsageError, with lines, column and remedy, unless these rows differ in their seed and in nothing else: a
    mean over other settings would be the accuracy of no model."""
    seen: dict[str, Identity] = {}
    told: dict[str, tuple[str, str]] = {}  # of each column the first row that tells it
    for each in identities:
        for column, value in each.settings:
            if column in LATER and not value:
                continue
            first, other = told.setdefault(column, (each.where, value))
            if value != other:
                raise UsageError(
                    f"{first} and {each.where} differ in {column} ({other or 'none'}, {value or 'none'}), not in the "
                    f"seed alone, and cannot be one point; {remedy}"
                )
        if each.seed in seen:
            raise UsageError(
                f"{seen[each.seed].where} and {each.where} are two rows of one configuration and seed; keep one of them"
            )
        seen[each.seed] = each
