"""The pace of measured runs, from which other cells are forecast."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from retrieval_gap.experiments.trained.config import RunConfig
from retrieval_gap.experiments.trained.cost import Hardware, Phase, cell_cost, stretch
from retrieval_gap.machine.errors import RunError, UsageError
from retrieval_gap.runs.known import KnownRun, known_runs
from retrieval_gap.tasks.api import TaskError

Part = Literal["training", "evaluation"]


@dataclass(frozen=True, kw_only=True)
class MeasuredPace:
    """A run's pace on its hardware.

    trained_s: seconds of training from the share `first` of its steps to the share `last`.
    tokens_per_s: in decoding; None if not evaluated yet.
    """

    config: RunConfig
    hardware: str
    threads: int
    first: float
    last: float
    trained_s: float
    tokens_per_s: float | None

    def has_measured(self, part: Part) -> bool:
        return part == "training" or bool(self.tokens_per_s)

    def has_measured_all(self, part: Part) -> bool:
        """Whether all of a part was measured: of a curriculum's training, each problem size."""
        return part == "evaluation" or len(self._trained) == len(cell_cost(self.config).training)

    def ratio(self, part: Part, machine: Hardware) -> float:
        """The measured time of a part that it `has_measured`, over the machine's roofline of the same."""
        if part == "training":
            return self.trained_s / machine.seconds(self._trained)
        cost = cell_cost(self.config)
        return cost.decoded / (self.tokens_per_s or math.inf) / machine.seconds(cost.evaluation)

    @property
    def _trained(self) -> Phase:
        return stretch(cell_cost(self.config).training, self.first, self.last)


def measured_runs(runs_dir: Path) -> list[MeasuredPace]:
    """The runs there with one rank, the same hardware and threads at every start, and two or more reports."""
    cells = known_runs(runs_dir) if runs_dir.is_dir() else []
    return [run for run in map(_measured, cells) if run is not None]


def _measured(cell: KnownRun) -> MeasuredPace | None:
    starts = [(start.get("hardware"), start.get("threads"), start.get("ranks", 1)) for start in cell.run.starts()]
    config = trained_config(cell)
    if config is None or not starts or any(start != starts[0] for start in starts):
        return None
    reached, trained_s = _trained_s(cell.run.reports())
    total = config.training().steps * config.batch_size
    if trained_s <= 0 or not 0 <= reached[0] < reached[-1] <= total:
        return None
    hardware, threads, ranks = starts[0]
    if ranks != 1:
        return None
    try:
        cell_cost(config)
    except (TaskError, UsageError):  # a user's file that is gone
        return None
    try:
        tokens_per_s = cell.rows()[0]["tokens_per_s"]
    except RunError:  # not done yet
        tokens_per_s = None
    return MeasuredPace(
        config=config,
        hardware=str(hardware),
        threads=threads if isinstance(threads, int) else 0,
        first=reached[0] / total,
        last=reached[-1] / total,
        trained_s=trained_s,
        tokens_per_s=tokens_per_s,
    )


def _trained_s(reports: Sequence[Mapping[str, Any]]) -> tuple[list[float], float]:
    """The samples at each report with a pace, and the seconds from the first to the last.

    The steps before the first report are left out: they may include the compilation of kernels, which would dominate
    the pace of a run that just began.
    """
    told: list[tuple[Any, Any]] = [(report["samples"], report.get("samples_per_s")) for report in reports]
    paces = [(float(samples), float(pace)) for samples, pace in told if isinstance(pace, (int, float)) and pace > 0]
    seconds = sum((after - before) / pace for (before, _), (after, pace) in pairwise(paces))
    return [samples for samples, _ in paces], seconds


def on_machine(machine: Hardware, runs: Iterable[MeasuredPace]) -> list[MeasuredPace]:
    """The runs that were measured on such a machine."""
    return [run for run in runs if machine.hardware in run.hardware and machine.threads in (None, run.threads)]


def trained_config(cell: KnownRun) -> RunConfig | None:
    """The configuration of a trained run; None for other kinds."""
    return cell.experiment if isinstance(cell.experiment, RunConfig) else None
