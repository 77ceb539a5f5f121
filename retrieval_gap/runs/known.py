"""Known runs, in folders or planned: which are done, running, partial, failed or missing, and their finished rows."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar, get_args

from retrieval_gap.machine.errors import RunError, UsageError
from retrieval_gap.runs.directory import RunDirectory, Status
from retrieval_gap.runs.experiment import TRAINED, Experiment, Row
from retrieval_gap.tables.rows import Sourced, merge

Value = TypeVar("Value")


@dataclass(frozen=True)
class KnownRun:
    """A run's directory, and its experiment, or why that cannot be read."""

    run: RunDirectory
    experiment: Experiment | None
    trouble: str = ""

    def rows(self) -> list[Row]:
        """The rows of a finished run.  Raises RunError or UsageError if they cannot be read."""
        if self.experiment is None:
            raise RunError(self.trouble)
        return self.run.rows(self.experiment)

    def filter_values(self) -> Mapping[str, Any]:
        """What `--only` knows of the run; nothing if it cannot be read."""
        return self.experiment.filter_values() if self.experiment is not None else {}

    def own_options(self) -> Mapping[str, Any]:
        """The options of its task, by name: as its row has them if it is done, since a user's file may have changed."""
        if self.experiment is None:
            return {}
        try:
            row = self.rows()[0] if self.run.result.exists() else None
        except (RunError, UsageError):  # told where runs are listed
            row = None
        return self.experiment.own_options(row)


def planned_runs(experiments: Iterable[Experiment], runs_dir: Path) -> list[KnownRun]:
    """The runs of these experiments, in their order, whether their directories exist or not.

    Raises UsageError if `runs_dir` is a file.
    """
    if runs_dir.exists() and not runs_dir.is_dir():
        raise UsageError(f"{runs_dir} is not a folder of runs")
    return [KnownRun(RunDirectory.of(experiment, runs_dir), experiment) for experiment in experiments]


def known_runs(runs_dir: Path) -> list[KnownRun]:
    """The runs of all directories in `runs_dir`, by name, also one with a result but no configuration.  If `runs_dir`
    is itself a run's directory, that run.

    Names are taken as found: a user's file that is part of a run's hash may have changed since, or be gone.
    """
    if not runs_dir.is_dir():
        raise UsageError(f"{runs_dir} is not a folder of runs; `retrieval-gap train` or `sweep` makes one")
    if (runs_dir / "config.json").is_file():
        return [_known(RunDirectory(runs_dir))]
    found = {path.parent for name in ("config.json", "result.json") for path in runs_dir.glob(f"*/{name}")}
    return [_known(RunDirectory(path)) for path in sorted(found)]


def _known(run: RunDirectory) -> KnownRun:
    try:
        experiment = run.experiment()
    except (UsageError, RunError) as error:
        return KnownRun(run, None, str(error))
    return KnownRun(run, experiment)


def finished_rows(known: Iterable[KnownRun]) -> list[Row]:
    """The rows of the finished runs, in this order.  Raises RunError for a result that cannot be read."""
    return [row for each in known if each.run.status() == "done" for row in each.rows()]


def read_each(
    known: Iterable[KnownRun], kind: type[Experiment], read: Callable[[KnownRun], Value]
) -> tuple[list[Value], list[str]]:
    """What `read` returns for each finished run of a kind; and a line for each that cannot be read, such as one whose
    configuration is lost: it may be of this kind."""
    found: list[Value] = []
    troubles: list[str] = []
    for each in known:
        try:
            if each.run.status() == "done" and (each.experiment is None or isinstance(each.experiment, kind)):
                found.append(read(each))
        except (RunError, UsageError) as error:
            troubles.append(str(error))
    return found, troubles


def raise_unread(troubles: Sequence[str]) -> None:
    """Raise RunError if runs could not be read; call it after showing the others."""
    if troubles:
        raise RunError(f"{len(troubles)} run(s) cannot be read; the first: {troubles[0]}")


def gathered_rows(known: Iterable[KnownRun], tables: Iterable[Sourced]) -> list[Sourced]:
    """The rows of finished trained runs and of tables, merged, followed by those of other kinds, unchanged.

    A trained run has one row, and tables hold such rows.  A run of another kind has several, or another hash.
    Raises RunError for a result that cannot be read, UsageError for two rows of one configuration that contradict each
    other.
    """
    trained, others = list[Sourced](), list[Sourced]()
    for each in known:
        if each.run.status() == "done":
            rows = [Sourced(str(each.run.result), row) for row in each.rows()]
            (trained if each.experiment is not None and each.experiment.kind == TRAINED else others).extend(rows)
    return merge(chain(trained, tables)) + others


def furthest(known: Iterable[KnownRun]) -> list[KnownRun]:
    """Of each run's directories in several folders, the one that is furthest: by status, then by its reports; the
    first of equal ones."""
    found: dict[str, list[KnownRun]] = {}
    for each in known:
        found.setdefault(each.run.path.name, []).append(each)
    return [same[0] if len(same) == 1 else min(same, key=_rank) for same in found.values()]


def _rank(known: KnownRun) -> tuple[int, int]:
    """Smaller is further."""
    status = known.run.status()
    if status == "done" or known.experiment is None:
        return get_args(Status).index(status), 0
    try:
        done = known.experiment.progress(known.run).done
    except (RunError, UsageError):  # reported where the run is listed
        done = 0
    return get_args(Status).index(status), -done


def print_counts(counts: Mapping[str, int]) -> None:
    """Print the number of runs of each status."""
    print(", ".join(f"{counts[s]} {s}" for s in (*get_args(Status), "unreadable") if s in counts))
