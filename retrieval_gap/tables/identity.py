"""The identity of a table's row: its setting, by which tables are paired, and what else defines a run but its seed."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeVar

from retrieval_gap.machine.errors import UsageError

# Columns that define a run, besides its seed; a table may lack some.
IDENTITY = (
    "task", "family", "options", "mode", "n", "arch", "size", "embedding", "samples", "batch_size", "lr",
    "warmup_samples", "max_grad_norm", "precision", "curriculum", "eval_split",
)  # fmt: skip
# Columns that also define a row of a transfer test or a probe.
MEASURED = ("tested_on", "tested_n", "tested_options", "answer", "rounding")
_UNSAID = {"precision": "fp32"}
# Empty in rows older than the column: these may have the value of any other row.
LATER = ("warmup_samples", "max_grad_norm")
TEST = "test"  # the split of rows whose table names none, and of all published values

ONE_OF_THEM = (
    "draw a table of one of them (of a table of runs: `retrieval-gap results --results FILE --only COLUMN=VALUE --csv"
    " ONE`; COLUMN may be an option of the task)"
)

RunT = TypeVar("RunT")


class Setting(NamedTuple):
    """The key by which tables are paired, without seeds and how a model was trained."""

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
    """The identity of a row.  where: its file and line.  settings: columns with their values, all but the seed."""

    where: str
    seed: str
    settings: tuple[tuple[str, str], ...]

    @property
    def setting(self) -> Setting:
        """The setting of a row that has task, family, view, n and model."""
        told = dict(self.settings)
        task, family, mode, arch, size = (told[key] for key in ("task", "family", "mode", "arch", "size"))
        return Setting(task, family, mode, int(told["n"]), told.get("options", ""), arch, size, self.split)

    @property
    def split(self) -> str:
        """The split on which the row was measured."""
        return dict(self.settings).get("eval_split") or TEST

    def without(self, column: str) -> "Identity":
        """The same identity without one of the settings."""
        return replace(self, settings=tuple(pair for pair in self.settings if pair[0] != column))


def identity_of(where: str, row: Mapping[str, Any], more: Sequence[str] = ()) -> Identity:
    """more: further columns that distinguish rows in this kind of table."""
    told = {column: "" if value is None else str(value) for column, value in row.items()}
    columns = [column for column in (*IDENTITY, *MEASURED, *more) if column in told]
    return Identity(where, told.get("seed", ""), tuple((c, told[c] or _UNSAID.get(c, "")) for c in columns))


def longest(runs: Iterable[RunT], samples: Callable[[RunT], int]) -> list[RunT]:
    """The runs that were trained on the most samples."""
    runs = list(runs)
    most = max(map(samples, runs))
    return [run for run in runs if samples(run) == most]


def check_seeds(identities: Iterable[Identity], remedy: str = ONE_OF_THEM) -> None:
    """Raise UsageError, with lines, column and remedy, unless these rows differ in their seed alone: a mean over other
    settings would be the accuracy of no model."""
    seen: dict[str, Identity] = {}
    told: dict[str, tuple[str, str]] = {}  # by column, the first row that has it
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
                " (a file of yours that was changed makes a new run of the same name)"
            )
        seen[each.seed] = each
