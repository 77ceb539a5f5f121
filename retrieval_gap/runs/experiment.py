"""What the engine runs: an experiment says what it is and what it writes; the engine knows no more of it.

A kind of experiment is a module (or folder) of `retrieval_gap.experiments` that offers its class under `EXPERIMENT`;
its name is what a run directory's config.json calls it.
"""

import importlib
import pkgutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from retrieval_gap.choices import BackendName, DeviceName, LogName
from retrieval_gap.machine.errors import UsageError, unknown
from retrieval_gap.training.config import CHECKPOINT_SECONDS

if TYPE_CHECKING:
    from retrieval_gap.runs.directory import RunDirectory
    from retrieval_gap.runs.planning import Planner

KINDS = "retrieval_gap.experiments"
TRAINED = "trained"  # the kind of a config.json that names none: runs of before there was a choice

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How experiments are executed, which changes no result: where, on what, how often they save, what they leave.

    device: "auto" is the GPU where there is one.  threads: of each process, 0 for all cores.
    checkpoint_seconds: between two checkpoints.  keep_weights: leave a finished run's weights in its directory.
    log: where reports are told besides metrics.jsonl.  scan_backend: what computes Mamba's scan.
    patience: seconds to wait for a run that another process holds; None for the directory's own.
    """

    runs_dir: Path = Path("runs")
    device: DeviceName = "cpu"
    threads: int = 0
    checkpoint_seconds: float = CHECKPOINT_SECONDS
    keep_weights: bool = True
    log: LogName = "none"
    scan_backend: BackendName = "auto"
    patience: float | None = None


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a run is.  done of total, both in `unit`; per_s: its pace, None before it is known.

    doing: one word for a run without a pace, such as "starting" or "decoding 30%".
    """

    done: int
    total: int
    unit: str = "samples"
    per_s: float | None = None
    doing: str = "starting"

    @property
    def share(self) -> float:
        return self.done / self.total if self.total else 1.0


class Experiment(Protocol):
    """One cell of a grid: a frozen dataclass, so that it can be hashed, compared and sent to another process.

    kind: the name of its module in `retrieval_gap.experiments`.  columns: of its table, in order.  files: what its
    directory may hold besides the engine's own files, by name.  measures: the columns that its rows are judged by.
    """

    kind: ClassVar[str]
    columns: ClassVar[Sequence[str]]
    measures: ClassVar[Sequence[str]]
    files: ClassVar[Sequence[str]]

    def label(self) -> str:
        """A readable name; two experiments may share it."""

    def hash(self) -> str:
        """12 hex digits: the same meaning, the same hash."""

    def validate(self) -> None:
        """Raises UsageError or TaskError for anything that a run would stumble over, before it starts."""

    def execute(self, run: "RunDirectory", options: RunOptions) -> list[Row]:
        """Does the work, or the rest of it, in the run's directory, which this process holds; its rows.

        Called again after a kill it goes on from what the directory holds, to the same rows.
        Raises UsageError for what will not do, RunError where the work fails.
        """

    def to_json(self) -> dict[str, Any]:
        """What config.json holds, from which `from_json` makes the experiment again."""

    @classmethod
    def from_json(cls, value: dict[str, Any], where: str) -> "Experiment":
        """Raises UsageError, beginning with `where`, for what is no such experiment."""

    def filter_values(self) -> Mapping[str, Any]:
        """What `--only` looks at, by key."""

    def progress(self, run: "RunDirectory") -> Progress:
        """How far the run in this directory is."""

    def check_row(self, row: Row) -> str:
        """What is wrong with a row that was read back from this experiment's directory, or ""."""

    @classmethod
    def planner(cls) -> "Planner":
        """What tells how long cells of this kind take."""


def kinds() -> list[str]:
    """The kinds of experiment there are."""
    return [
        module.name
        for module in pkgutil.iter_modules(importlib.import_module(KINDS).__path__)
        if module.name != "grids"
    ]


def experiment_class(kind: str) -> type[Experiment]:
    """Raises UsageError for a kind that there is not."""
    if kind not in kinds():
        raise unknown("kind of experiment", kind, kinds())
    found: type[Experiment] = importlib.import_module(f"{KINDS}.{kind}").EXPERIMENT
    return found


def read_experiment(value: dict[str, Any], where: str) -> Experiment:
    """The experiment of a config.json.  Raises UsageError, beginning with `where`, for what is none."""
    kind = value.get("kind", TRAINED)
    if not isinstance(kind, str):
        raise UsageError(f"{where}: kind = {kind!r} will not do")
    rest = {key: each for key, each in value.items() if key != "kind"}
    return experiment_class(kind).from_json(rest, where)
