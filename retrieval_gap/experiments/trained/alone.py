"""Runs one cell in this process, and shows how far it is."""

import contextlib
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
from rich.table import Column

from retrieval_gap.experiments.trained.config import RunConfig
from retrieval_gap.experiments.trained.run import Report, execute
from retrieval_gap.machine.environment import usable_cores
from retrieval_gap.machine.printing import duration
from retrieval_gap.runs.experiment import RunOptions
from retrieval_gap.training.loop import StepReport
from retrieval_gap.training.ranks import ALONE, Ranks

LINES = 20  # of a run, where there is no terminal


class Watch:
    """What is told of a run while it trains, besides its numbers: the time that is left, and the last accuracy.

    The time left goes by the mean pace since the first report of this start, pauses for validation and checkpoints
    among it: it does not jump with one slow report, and the compilation before the first report does not count.
    """

    def __init__(self, total: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.total, self._clock = total, clock
        self._first: tuple[int, float] | None = None
        self._accuracy: float | None = None

    def told(self, report: StepReport) -> str:
        """Loss, pace, time left and accuracy, each where it is known."""
        now = self._clock()
        self._first = self._first or (report.samples, now)
        self._accuracy = self._accuracy if report.accuracy is None else report.accuracy
        parts = [f"loss {report.loss:.4f}", f"{report.samples_per_s:,.0f} samples/s"]
        samples, started = self._first
        if report.samples > samples:
            left = (self.total - report.samples) * (now - started) / (report.samples - samples)
            parts.append(f"{duration(left)} left")
        if self._accuracy is not None:
            parts.append(f"accuracy {self._accuracy:.3f}")
        return "  ".join(parts)


def run_one(config: RunConfig, options: RunOptions, *, ranks: Ranks = ALONE) -> dict[str, Any]:
    """Trains and evaluates one run here; in a terminal one line tells how far it is, elsewhere at most LINES lines."""
    options = replace(options, threads=options.threads or max(1, usable_cores() // ranks.place.local_count))
    console = Console(stderr=True)
    watch = Watch(config.training().steps * config.batch_size)
    if not console.is_terminal:
        return execute(config, options, report=_printed(watch), ranks=ranks)
    columns = (
        TextColumn("{task.description}", table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis")),
        BarColumn(bar_width=10),
        TaskProgressColumn(),
        TextColumn("{task.fields[told]}", table_column=Column(no_wrap=True)),
    )
    with Progress(*columns, console=console, expand=True) as bar:
        task = bar.add_task(config.label(), total=watch.total, told="starting")

        def report(_: RunConfig, told: StepReport) -> None:
            bar.update(task, completed=told.samples, told=watch.told(told))

        return execute(config, options, report=report, ranks=ranks)


def _printed(watch: Watch) -> Report:
    """Prints at most LINES lines of a run, the last report among them."""
    total, printed = watch.total, 0

    def report(config: RunConfig, told: StepReport) -> None:
        nonlocal printed
        line = f"{config.label()}  {told.samples:,}/{total:,} samples  {watch.told(told)}"
        if told.samples * LINES // total > printed:
            printed = told.samples * LINES // total
            with contextlib.suppress(OSError):  # who read along went away: no reason to stop training
                print(line, file=sys.stderr, flush=True)

    return report
