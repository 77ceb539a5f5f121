"""What the engine runs: an experiment says what it is and what it writes; the engine knows no more of it.

A kind of experiment is a module (or folder) of `retrieval_gap.experiments` that offers its class under `EXPERIMENT`;
its name is what a run directory's config.json calls it.
"""

import hashlib
import importlib
import json
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from retrieval_gap.choices import BackendName, DeviceName, LogName
from retrieval_gap.machine.errors import UsageError, unknown

if TYPE_CHECKING:
    from retrieval_gap.runs.directory import RunDirectory
    from retrieval_gap.runs.planning import Planner

KINDS = "retrieval_gap.experiments"
CHECKPOINT_SECONDS = 20.0  # what a kill costs at the most
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
        return min(1.0, self.done / self.total) if self.total else 0.0


class Experiment(ABC):
    """One cell of a grid: a frozen dataclass, so that it can be hashed, compared and sent to another process.

    kind: the name of its module in `retrieval_gap.experiments`.  columns: of its table, in order.
    measures: the columns that a finished run is told by.  files: what its directory may hold, and a pack carries,
    besides the engine's own files, by name.  hash_column: where a row holds the experiment's own hash, "" where none.
    """

    kind: ClassVar[str]
    columns: ClassVar[Sequence[str]]
    measures: ClassVar[Sequence[str]]
    files: ClassVar[Sequence[str]] = ()
    hash_column: ClassVar[str] = "config_hash"

    @property
    def preload(self) -> Sequence[str]:
        """Modules that take long to import, for the process that workers are forked from."""
        return ()

    @abstractmethod
    def label(self) -> str:
        """A readable name, fit for a file; two experiments may share it."""

    @abstractmethod
    def hash(self) -> str:
        """12 hex digits: the same meaning, the same hash (`hash_of` makes one)."""

    @abstractmethod
    def execute(self, run: "RunDirectory", options: RunOptions) -> list[Row]:
        """Does the work, or the rest of it, in the run's directory, which this process holds; its rows.

        Called again after a kill it goes on from what the directory holds, to the same rows.
        Raises UsageError for invalid input, RunError where the work fails, HopelessError where it always would.
        """

    def tidy(self, run: "RunDirectory", options: RunOptions) -> None:
        """Takes away what a finished run no longer needs; called once its rows are written down."""
        return

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """What config.json holds, from which `from_json` makes the experiment again; `kind` among it."""

    @classmethod
    @abstractmethod
    def from_json(cls, value: dict[str, Any], where: str) -> "Experiment":
        """Raises UsageError, beginning with `where`, for what is no such experiment.  Builds and imports nothing."""

    def foreign(self) -> list[str]:
        """The files and modules of a user's own that this experiment names: to hash or to build it is to read them."""
        return []

    @abstractmethod
    def validate(self) -> None:
        """Raises UsageError or TaskError for anything that a run would stumble over, before it starts."""

    def filter_values(self) -> Mapping[str, Any]:
        """What it is, by the words that `--only` and tables use."""
        return {key: value for key, value in self.to_json().items() if key != "kind"}

    def listed_values(self, row: Row | None = None) -> Mapping[str, Any]:
        """What a table of runs says of what it is; row: that a run has which is done."""
        return self.filter_values()

    def told(self, row: Row) -> Mapping[str, str]:
        """What a table shows of a row, by the head of its column; nothing for a row that is a detail of another."""
        return {name: _number(row.get(name)) for name in self.measures}

    def command(self) -> str:
        """The command that runs this cell alone; "" where there is none."""
        return ""

    def progress(self, run: "RunDirectory") -> Progress:
        """How far the run in this directory is, by its last report."""
        reports = run.reports()
        if not reports:
            return Progress(done=0, total=0)
        last = reports[-1]
        done, total = int(last["samples"]), int(last.get("total", last["samples"]))
        return Progress(done=done, total=total, unit=str(last.get("unit", "samples")), per_s=last.get("samples_per_s"))

    def checkpoint(self, run: "RunDirectory") -> tuple[Path | None, int]:
        """The file that the run in this directory goes on from, None where there is none, and how far it is there: of
        two directories of a run the one with the greater number is further.

        Raises RunError where every such file is damaged.
        """
        return None, self.progress(run).done

    def check_row(self, row: Row) -> str:
        """What is wrong with a row that was read back from this experiment's directory, after "FILE"; or ""."""
        lacking = [name for name in self.measures if name not in row]
        return f"lacks {', '.join(lacking)}" if lacking else ""

    def fill_row(self, row: Row) -> Row:
        """The row with the columns that older rows of this kind lack and this experiment tells."""
        return row

    @classmethod
    def planner(cls) -> "Planner":
        """What tells how long cells of this kind take."""
        from retrieval_gap.runs.planning import PacePlanner

        return PacePlanner()


def hash_of(meaning: Mapping[str, Any]) -> str:
    """12 hex digits of what decides an experiment's rows."""
    return hashlib.sha256(json.dumps(meaning, sort_keys=True).encode()).hexdigest()[:12]


def _number(value: Any) -> str:
    return "" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)


def kinds() -> dict[str, type[Experiment]]:
    """The kinds of experiment there are, by name."""
    names = [module.name for module in pkgutil.iter_modules(importlib.import_module(KINDS).__path__)]
    found = {name: getattr(importlib.import_module(f"{KINDS}.{name}"), "EXPERIMENT", None) for name in names}
    return {name: kind for name, kind in found.items() if kind is not None}


def experiment_class(kind: str) -> type[Experiment]:
    """Raises UsageError for a kind that there is not."""
    if kind == TRAINED:  # without a look at the others
        found: type[Experiment] = importlib.import_module(f"{KINDS}.{kind}").EXPERIMENT
        return found
    every = kinds()
    if kind not in every:
        raise unknown("kind of experiment", kind, every)
    return every[kind]


def read_experiment(value: dict[str, Any], where: str) -> Experiment:
    """The experiment of a config.json.  Raises UsageError, beginning with `where`, for what is none."""
    kind = value.get("kind", TRAINED)
    if not isinstance(kind, str):
        raise UsageError(f"{where}: kind = {kind!r} is unknown")
    rest = {key: each for key, each in value.items() if key != "kind"}
    return experiment_class(kind).from_json(rest, where)
