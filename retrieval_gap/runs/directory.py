"""A run directory: the files of one run, and what they tell.

It holds `config.json`, `environment.jsonl` (a line for every start), `metrics.jsonl`, `checkpoint.safetensors` and the
one before it, `evaluation.json` (what is counted so far, while decoding), `samples.jsonl` (a few traces that were
decoded), and at the end `result.json`, or `failure.json` with the reason; `error.txt` where a sweep's last try failed
and another may not.
Finished means skipped; partial means resumed.  Of a finished run the checkpoint may be gone.
"""

import fcntl
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, TextIO

import torch

from retrieval_gap.decoding.evaluation import Tally
from retrieval_gap.experiments.trained.config import RunConfig
from retrieval_gap.kernels.selective_scan import chosen_backend
from retrieval_gap.machine import environment
from retrieval_gap.machine.devices import CPU
from retrieval_gap.machine.errors import RunError, UsageError
from retrieval_gap.machine.files import make_folder, remove_leftovers, write_json, write_text

NEEDED = ("step", "samples", "wall_s")  # of a report, to go on and to tell how far a run is
MEASURED = (
    "accuracy", "accuracy_low", "accuracy_high", "accuracy_strict", "exact_trace", "undecided",
    "tokens_per_s", "wall_s",
)  # fmt: skip
# A lock is waited for: its holder may be writing a last checkpoint, or only asking whether it is held.
LOCK_SECONDS = 5.0
ERROR_LOG = "error.txt"
Status = Literal["done", "running", "partial", "failed", "missing"]


class HeldError(RunError):
    """Another process works on the run."""


class RunDirectory:
    """The files of one run.  Raises UsageError where its configuration cannot be read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.checkpoint = path / "checkpoint.safetensors"
        self.metrics = path / "metrics.jsonl"
        self.evaluation = path / "evaluation.json"
        self.samples = path / "samples.jsonl"
        self.result = path / "result.json"
        self.failure = path / "failure.json"
        self.error = path / ERROR_LOG

    @classmethod
    def of(cls, config: RunConfig, runs_dir: Path) -> "RunDirectory":
        return cls(runs_dir / f"{config.label()}-{config.hash()}")

    def config(self) -> RunConfig:
        where = self.path / "config.json"
        if not where.is_file():
            raise UsageError(f"{self.path} is no run directory (it has no config.json)")
        return RunConfig.from_json(read_json(where), str(where))

    def row(self) -> dict[str, Any]:
        """The row of a finished run.  Raises RunError where it is damaged."""
        row = read_json(self.result)
        lacking = [key for key in MEASURED if type(row.get(key)) not in (int, float)]
        if lacking:
            raise RunError(
                f"{self.result} has no number for {', '.join(lacking)}; delete it and start the same run again"
            )
        return row

    def status(self) -> Status:
        held = self.is_held()  # asked first, so that a run that ends meanwhile is told as what it ended as
        if self.result.exists():
            return "done"
        if self.failure.exists():
            return "failed"
        if held:
            return "running"
        if self.error.exists():
            return "failed"
        return "partial" if (self.path / "config.json").exists() else "missing"

    def create(self, config: RunConfig, device: torch.device = CPU, ranks: int = 1) -> None:
        """Writes the configuration where it is absent, and adds a line on what this start of the run happens on.

        Raises UsageError where the directory cannot be written.
        """
        make_folder(self.path)
        try:
            if not (self.path / "config.json").exists():
                write_json(self.path / "config.json", asdict(config))
            with (self.path / "environment.jsonl").open("a", encoding="utf-8") as file:
                told: dict[str, Any] = dict(environment.describe(device.type))
                told |= {"threads": torch.get_num_threads(), "scan_backend": chosen_backend(), "ranks": ranks}
                file.write(json.dumps(told) + "\n")
        except OSError as error:
            raise UsageError(f"run directory {self.path} cannot be written: {error.strerror}") from error

    @contextmanager
    def locked(self, patience: float | None = None) -> Iterator[None]:
        """Holds the run for this process.  Raises HeldError where another keeps it for so many seconds; by default
        LOCK_SECONDS."""
        with (self.path / "lock").open("w") as file:
            deadline = time.monotonic() + (LOCK_SECONDS if patience is None else patience)
            while not _try_lock(file, fcntl.LOCK_EX):
                if time.monotonic() >= deadline:
                    raise HeldError(f"{self.path} is being worked on by another process")
                time.sleep(LOCK_SECONDS / 100)
            remove_leftovers(self.path)
            yield

    def is_held(self) -> bool:
        """Whether a process works on the run; the lock is taken for that moment where none does."""
        try:
            with (self.path / "lock").open() as file:
                return not _try_lock(file, fcntl.LOCK_SH)
        except OSError:
            return False

    def trim_metrics(self, step: int) -> None:
        """Drops the reports past a step: the run goes on from there and will write them again."""
        if self.metrics.exists():
            kept = [json.dumps(told) + "\n" for told in self.reports() if told["step"] <= step]
            write_text(self.metrics, "".join(kept))

    def counted(self) -> Tally:
        """How far the evaluation is; nothing where no file, or none to be read, tells."""
        try:
            return Tally(**read_json(self.evaluation))
        except (RunError, TypeError, ValueError):
            return Tally()

    def starts(self) -> list[dict[str, Any]]:
        """On what each start of the run happened; [] where that cannot be read."""
        try:
            starts = [json.loads(line) for line in (self.path / "environment.jsonl").read_text("utf-8").splitlines()]
        except (OSError, ValueError):
            return []
        return [start for start in starts if isinstance(start, dict)]

    def reports(self) -> list[dict[str, Any]]:
        """The reports of training so far, without a line that a kill cut short, or that is none."""
        if not self.metrics.exists():
            return []
        lines = self.metrics.read_text(encoding="utf-8", errors="replace").splitlines()
        return [told for told in map(_report, lines) if told]


def _try_lock(file: TextIO, kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def read_json(path: Path) -> dict[str, Any]:
    """Raises RunError where the file is not a JSON object."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"{path} cannot be read ({error}); delete it and start the same run again") from error
    if not isinstance(value, dict):
        raise RunError(f"{path} holds no JSON object; delete it and start the same run again")
    return value


def _report(line: str) -> dict[str, Any] | None:
    """A line of metrics.jsonl, or None where it is not a whole one."""
    try:
        told = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(told, dict) or any(type(told.get(key)) not in (int, float) for key in NEEDED):
        return None
    return told
