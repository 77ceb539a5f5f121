"""A run directory: the files of one experiment's run.

It holds `config.json` (the experiment), `environment.jsonl` (a line per start), `metrics.jsonl` (progress reports),
whatever its kind needs to resume, and at the end `result.json`, or `failure.json` with the reason; `error.txt` if a
sweep's last try failed and another may succeed.
Finished means skipped; partial means resumed.
"""

import fcntl
import json
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from retrieval_gap.machine.errors import RunError, UsageError
from retrieval_gap.machine.files import make_folder, remove_leftovers, write_json, write_text
from retrieval_gap.runs.experiment import Experiment, Row, hash_of, read_experiment
from retrieval_gap.runs.user_files import keep_user_files

NEEDED = ("step", "samples", "wall_s")  # keys of a report, to resume a run and to show its progress
# How long to wait for a lock: its holder may be writing a last checkpoint, or only checking whether it is held.
LOCK_SECONDS = 5.0
ERROR_LOG = "error.txt"
AGAIN = "delete it and start the same run again"
DIGEST = "digest"  # of the rest of a result
HASH = re.compile(r"-([0-9a-f]{12})$")
Status = Literal["done", "running", "partial", "failed", "missing"]


class HeldError(RunError):
    """Another process works on the run."""


class RunDirectory:
    """The files of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.configuration = path / "config.json"
        self.environment = path / "environment.jsonl"
        self.checkpoint = path / "checkpoint.safetensors"
        self.metrics = path / "metrics.jsonl"
        self.evaluation = path / "evaluation.json"
        self.samples = path / "samples.jsonl"
        self.result = path / "result.json"
        self.failure = path / "failure.json"
        self.error = path / ERROR_LOG
        self.stderr = path / "stderr.txt"

    @classmethod
    def of(cls, experiment: Experiment, runs_dir: Path) -> "RunDirectory":
        return cls(runs_dir / f"{experiment.label()}-{experiment.hash()}")

    def experiment(self) -> Experiment:
        """The experiment of this run.  Raises UsageError if this is not a run directory, or its configuration is
        invalid; RunError if that cannot be read."""
        if not self.configuration.is_file():
            below = min((path.parent for path in self.path.glob("*/config.json")), default=None)
            told = f"; it holds some, such as {below}" if below else ""
            raise UsageError(f"{self.path} is not a run directory (it has no config.json){told}")
        return read_experiment(read_json(self.configuration), str(self.configuration))

    def lacks_weights(self) -> bool:
        """Whether the run was finished without keeping its weights."""
        return self.result.exists() and not self.checkpoint.exists()

    def rows(self, experiment: Experiment | None = None) -> list[Row]:
        """The rows of a finished run, checked and completed by its kind of experiment.

        experiment: the one of this directory, if known; None: read it.
        Raises UsageError if the configuration is invalid, RunError if a row is damaged.
        """
        told = read_json(self.result)
        digest = told.pop(DIGEST, None)  # older results have none
        if digest not in (None, hash_of(told)):
            raise RunError(f"{self.result} was changed: its digest is of something else; {AGAIN}")
        rows = told["rows"] if isinstance(told.get("rows"), list) else [told]
        known = experiment or self.experiment()
        for row in rows:
            trouble = self._trouble(row, known)
            if trouble:
                raise RunError(f"{self.result} {trouble}; {AGAIN}")
        return [known.fill_row(row) for row in rows]

    def _trouble(self, row: Any, experiment: Experiment) -> str:
        """What is wrong with a row of this run, or ""."""
        if not isinstance(row, dict):
            return "holds a row that is no JSON object"
        own, told = HASH.search(self.path.name), row.get(experiment.hash_column)
        if own and told is not None and told != own[1]:
            return f"says {experiment.hash_column} = {told!r}, and this directory is of {own[1]}"
        return experiment.check_row(row)

    def check_name(self, experiment: Experiment) -> None:
        """Raise RunError if this directory's name does not match its experiment: config.json was changed.  For an
        experiment with user files, which may have changed since, only the label is compared."""
        name = self.path.name
        if not HASH.search(name):
            return  # a name that a user chose
        label, _, digits = name.rpartition("-")
        if label != experiment.label() or (not experiment.foreign() and digits != experiment.hash()):
            raise RunError(f"{self.configuration} is not the configuration that {name} was made for; it was changed")

    def named(self, rows: Sequence[Row], experiment: Experiment) -> list[Row]:
        """The rows with the hash that this directory was made for: a user's file may have changed since."""
        own, column = HASH.search(self.path.name), experiment.hash_column
        return [row | {column: own[1]} if own and column in row else row for row in rows]

    def finish(self, rows: Sequence[Row]) -> None:
        """Write the result: a single row is the file's object itself, as before kinds had several rows."""
        told = rows[0] if len(rows) == 1 else {"rows": list(rows)}
        write_json(self.result, told | {DIGEST: hash_of(told)})

    def is_over(self) -> bool:
        """Whether another start would do nothing: the run is done, or failed for good."""
        return self.result.exists() or self.failure.exists()

    def status(self) -> Status:
        """failed: for good, or at its last try; the next sweep tries the latter again (see `is_over`)."""
        held = self.is_held()  # checked first, so that a run that ends meanwhile gets its final status
        if self.result.exists():
            return "done"
        if self.failure.exists():
            return "failed"
        if held:
            return "running"
        if self.error.exists():
            return "failed"
        return "partial" if self.configuration.exists() else "missing"

    def create(self, experiment: Experiment, start: Mapping[str, Any]) -> None:
        """Write the configuration if it is absent, and add a line with `start` to environment.jsonl.

        Raises UsageError if the directory cannot be written.
        """
        make_folder(self.path)
        try:
            if not self.configuration.exists():
                write_json(self.configuration, experiment.to_json())
            keep_user_files(self.path, experiment)
            with self.environment.open("a", encoding="utf-8") as file:
                file.write(json.dumps(dict(start)) + "\n")
        except OSError as error:
            raise UsageError(f"run directory {self.path} cannot be written: {error.strerror}") from error

    @contextmanager
    def locked(self, patience: float | None = None) -> Iterator[None]:
        """Hold the run for this process.  Raises HeldError if another holds it for `patience` seconds (None:
        LOCK_SECONDS)."""
        # Opened to append, and never through a link: the lock has no content, and no other file is emptied.
        opened = os.open(self.path / "lock", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o666)
        try:
            deadline = time.monotonic() + (LOCK_SECONDS if patience is None else patience)
            while not _try_lock(opened, fcntl.LOCK_EX):
                if time.monotonic() >= deadline:
                    raise HeldError(f"{self.path} is being worked on by another process")
                time.sleep(LOCK_SECONDS / 100)
            remove_leftovers(self.path)
            yield
        finally:
            os.close(opened)

    def is_held(self) -> bool:
        """Whether a process works on the run; if none does, the lock is taken for a moment."""
        try:
            with (self.path / "lock").open() as file:
                return not _try_lock(file.fileno(), fcntl.LOCK_SH)
        except OSError:
            return False

    def add_report(self, told: Mapping[str, Any]) -> None:
        """Add a line to metrics.jsonl."""
        with self.metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps(told) + "\n")

    def trim_metrics(self, step: int) -> None:
        """Drop the reports after a step: the run resumes there and will write them again."""
        if self.metrics.exists():
            kept = [json.dumps(told) + "\n" for told in self.reports() if told["step"] <= step]
            write_text(self.metrics, "".join(kept))

    def starts(self) -> list[dict[str, Any]]:
        """What was recorded about each start of the run; [] if that cannot be read."""
        try:
            starts = [json.loads(line) for line in self.environment.read_text("utf-8").split("\n") if line.strip()]
        except (OSError, ValueError):
            return []
        return [start for start in starts if isinstance(start, dict)]

    def reports(self) -> list[dict[str, Any]]:
        """The reports so far, without lines that a kill cut short or that are not reports."""
        if not self.metrics.exists():
            return []
        lines = self.metrics.read_text(encoding="utf-8", errors="replace").split("\n")
        return [told for told in map(_report, lines) if told]


def _try_lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.  Raises RunError if the file is not one, or cannot be read."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"{path} cannot be read ({error}); {AGAIN}") from error
    if not isinstance(value, dict):
        raise RunError(f"{path} holds no JSON object; {AGAIN}")
    return value


def _report(line: str) -> dict[str, Any] | None:
    """The report in a line of metrics.jsonl, or None if it is not a whole one."""
    try:
        told = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(told, dict) or any(type(told.get(key)) not in (int, float) for key in NEEDED):
        return None
    return told
