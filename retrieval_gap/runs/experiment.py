"""The interface of the experiments that the engine runs; the engine knows nothing else about them.

A kind of experiment is a module (or folder) of `retrieval_gap.experiments` with its class under `EXPERIMENT`; the
module's name is the `kind` in a run directory's config.json.
"""

import hashlib
import importlib
import json
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from retrieval_gap.choices import CHECKPOINT_SECONDS, BackendName, DeviceName, LogName
from retrieval_gap.machine.errors import UsageError, unknown
from retrieval_gap.machine.field_kinds import config_from
from retrieval_gap.tables.filters import options_of_row

if TYPE_CHECKING:
    from retrieval_gap.runs.directory import RunDirectory
    from retrieval_gap.runs.planning import Planner

KINDS = "retrieval_gap.experiments"
TRAINED = "trained"  # the kind of a config.json without one: runs from before there were several kinds

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How experiments are executed, which changes no result.

    device: "auto" is the GPU if there is one.  threads: number per process, 0 for all cores.
    checkpoint_seconds: time between two checkpoints.  keep_weights: keep a finished run's weights in its directory.
    log: where reports go besides metrics.jsonl.  scan_backend: of Mamba's scan.
    patience: seconds to wait for a run that another process holds; None: the default of runs/directory.py.
    """

    runs_dir: Path = Path("runs")
    device: DeviceName = "cpu"
    threads: int = 0
    checkpoint_seconds: float = CHECKPOINT_SECONDS
    keep_weights: bool = True
    log: LogName = "none"
    scan_backend: BackendName = "auto"
    patience: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "runs_dir", Path(self.runs_dir))  # a notebook gives a text


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a run is: `done` of `total`, both in `unit`.  per_s: its pace, None before it is known.

    doing: what a run without a pace does, such as "starting" or "decoding 30%".
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

    kind: the name of its module in `retrieval_gap.experiments`.  columns: the columns of its table, in order.
    measures: the columns that summarise a finished run.  files: names of the files that its directory may hold, and a
    pack carries, besides the engine's own.  hash_column: the column of a row with the experiment's hash, "" if none.
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
        """A readable name, valid for a file; two experiments may share it."""

    @abstractmethod
    def hash(self) -> str:
        """12 hex digits, equal for experiments of equal meaning (see `hash_of`)."""

    @abstractmethod
    def execute(self, run: "RunDirectory", options: RunOptions) -> list[Row]:
        """Do the work, or the rest of it, in the run's directory, which this process holds; return its rows.

        Called again after a kill, it resumes from what the directory holds, and returns the same rows.
        Raises UsageError for invalid input, RunError if the work fails, HopelessError if it would always fail.
        """

    def tidy(self, run: "RunDirectory", options: RunOptions) -> None:
        """Remove what a finished run no longer needs; called after its rows are written."""
        return

    def to_json(self) -> dict[str, Any]:
        """The content of config.json, `kind` included, from which `from_json` rebuilds the experiment."""
        own: Any = self
        return {"kind": self.kind, **asdict(own)}

    @classmethod
    def from_json(cls, value: dict[str, Any], where: str) -> Self:
        """Rebuild an experiment; builds no task or model and imports nothing.  Raises UsageError, beginning with
        `where`, for an invalid one."""
        return config_from(cls, value, where)

    def foreign(self) -> list[str]:
        """The user's own files and modules that this experiment names: hashing or building it reads them."""
        return []

    @abstractmethod
    def validate(self) -> None:
        """Raise UsageError or TaskError, before the start, for anything that would make a run fail."""

    def filter_values(self) -> Mapping[str, Any]:
        """Its settings, by the names that `--only` and tables use."""
        return {key: value for key, value in self.to_json().items() if key != "kind"}

    def own_options(self, row: Row | None = None) -> Mapping[str, Any]:
        """Its task's own options by name, for `--only`.  row: a row of its run, if that is done."""
        return options_of_row(row or self.filter_values())

    def listed_values(self, row: Row | None = None) -> Mapping[str, Any]:
        """Its settings as a table of runs shows them.  row: a row of its run, if that is done."""
        return self.filter_values()

    def shown_values(self, row: Row) -> Mapping[str, str]:
        """The results that a table shows of a row, by column; none for a row that is a detail of another."""
        return {name: _number(row.get(name)) for name in self.measures}

    def command(self) -> str:
        """The command that runs this cell alone; "" if there is none."""
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
        """The file from which the run in this directory resumes, or None, and how far it is there: of two directories
        of a run, the one with the greater number is further.

        Raises RunError if every such file is damaged.
        """
        return None, self.progress(run).done

    def check_row(self, row: Row) -> str:
        """What is wrong with a row read from this experiment's directory, in words that follow "FILE"; or ""."""
        lacking = [name for name in self.measures if name not in row]
        return f"lacks {', '.join(lacking)}" if lacking else ""

    def fill_row(self, row: Row) -> Row:
        """The row, with columns that older rows of this kind lack filled in from this experiment."""
        return row

    @classmethod
    def planner(cls) -> "Planner":
        """The planner that estimates how long cells of this kind take."""
        from retrieval_gap.runs.planning import PacePlanner

        return PacePlanner()


def hash_of(meaning: Mapping[str, Any]) -> str:
    """12 hex digits of the values that determine an experiment's rows."""
    return hashlib.sha256(json.dumps(meaning, sort_keys=True).encode()).hexdigest()[:12]


def _number(value: Any) -> str:
    return "" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)


def kinds() -> dict[str, type[Experiment]]:
    """The kinds of experiment there are, by name."""
    names = [module.name for module in pkgutil.iter_modules(importlib.import_module(KINDS).__path__)]
    found = {name: getattr(importlib.import_module(f"{KINDS}.{name}"), "EXPERIMENT", None) for name in names}
    return {name: kind for name, kind in found.items() if kind is not None}


def experiment_class(kind: str) -> type[Experiment]:
    """The class of a kind.  Raises UsageError for an unknown kind."""
    if kind == TRAINED:  # without importing the others
        found: type[Experiment] = importlib.import_module(f"{KINDS}.{kind}").EXPERIMENT
        return found
    every = kinds()
    if kind not in every:
        raise unknown("kind of experiment", kind, every)
    return every[kind]


def read_experiment(value: dict[str, Any], where: str) -> Experiment:
    """The experiment of a config.json.  Raises UsageError, beginning with `where`, for an invalid one."""
    kind = value.get("kind", TRAINED)
    if not isinstance(kind, str):
        raise UsageError(f"{where}: kind = {kind!r} is unknown")
    rest = {key: each for key, each in value.items() if key != "kind"}
    try:
        found = experiment_class(kind)
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from None
    return found.from_json(rest, where)
