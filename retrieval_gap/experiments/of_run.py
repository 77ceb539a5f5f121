"""Experiments on a trained run: which run, how far it was trained, and where their own directories are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from retrieval_gap.machine.environment import usable_cores
from retrieval_gap.machine.errors import UsageError
from retrieval_gap.machine.field_kinds import check_fields
from retrieval_gap.runs.directory import RunDirectory
from retrieval_gap.runs.executors import ExecutorOptions
from retrieval_gap.runs.experiment import Experiment, Row, RunOptions, hash_of
from retrieval_gap.runs.perform import perform
from retrieval_gap.runs.sweep import run_quietly

if TYPE_CHECKING:
    from retrieval_gap.experiments.trained.config import RunConfig


@dataclass(frozen=True, kw_only=True)
class OfRun(Experiment):
    """run_dir: directory of the trained run.  run: name of that directory.  run_hash: hash of its configuration.
    trained: number of samples that its saved model has seen; a model trained further is another experiment."""

    hash_column: ClassVar[str] = ""  # rows hold the hash of the trained run

    run_dir: str
    run: str
    run_hash: str
    trained: int

    def __post_init__(self) -> None:
        check_fields(self)

    @staticmethod
    def named(path: Path) -> dict[str, Any]:
        """The values of these fields for the run in `path`.  Raises UsageError or RunError if it has no model."""
        config, trained = saved_run(RunDirectory(path))
        return {
            "run_dir": str(path.resolve()),
            "run": path.resolve().name,
            "run_hash": config.hash(),
            "trained": trained,
        }

    def hashed_values(self) -> dict[str, Any]:
        """The fields that are hashed: all but where the run is."""
        return {key: value for key, value in self.to_json().items() if key not in ("run_dir", "run")}

    def hash(self) -> str:
        return hash_of(self.hashed_values())

    def label(self) -> str:
        return f"{self.kind}-{self.run}"

    def shown_rows(self, rows: Sequence[Row]) -> list[Mapping[str, str]]:
        """The lines of a table about its rows."""
        return [self.shown_values(row) for row in rows]

    def validate(self) -> None:
        config, trained = saved_run(RunDirectory(Path(self.run_dir)))
        if (config.hash(), trained) != (self.run_hash, self.trained):
            raise UsageError(f"{self.run_dir} is another run by now, or was trained further; start this anew")


def saved_run(run: RunDirectory) -> tuple["RunConfig", int]:
    """A run's configuration, and the number of samples that its saved model has seen."""
    from retrieval_gap.experiments.trained.run import load_model

    config, _, progress = load_model(run)
    return config, progress.step * config.batch_size


def beside(path: Path, kind: str) -> Path:
    """The folder of experiments on the run in `path`: a hidden one beside it, so that RUNS/* matches only runs."""
    return path.resolve().parent / f".{kind}s"


def measured(experiments: Sequence[OfRun], workers: int) -> list[list[Row]]:
    """The rows of each experiment, in order: read back if it is finished, else measured, by `workers`
    processes of one thread each (0: one per core).

    Raises UsageError for an invalid experiment, RunError if one fails or a signal stops them.
    """
    folders: dict[Path, list[OfRun]] = {}
    for experiment in dict.fromkeys(experiments):
        experiment.validate()
        folders.setdefault(beside(Path(experiment.run_dir), experiment.kind), []).append(experiment)
    for folder, cells in folders.items():
        options = RunOptions(runs_dir=folder, threads=1)
        left = [cell for cell in cells if not RunDirectory.of(cell, folder).result.exists()]
        if len(left) == 1 or workers == 1:
            for cell in left:
                perform(cell, options)
        elif left:
            run_quietly(left, ExecutorOptions(workers=min(workers or usable_cores(), len(left)), tries=1), options)
    return [
        RunDirectory.of(experiment, beside(Path(experiment.run_dir), experiment.kind)).rows(experiment)
        for experiment in experiments
    ]
