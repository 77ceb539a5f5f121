"""Runs one cell in this process, and shows its progress."""

import contextlib
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from rich.progress import BarColumn, Progress, ProgressColumn, TaskProgressColumn, TextColumn
from rich.table import Column

from retrieval_gap.experiments.trained.config import RunConfig
from retrieval_gap.experiments.trained.run import Listener, execute
from retrieval_gap.machine.environment import usable_cores
from retrieval_gap.machine.printing import duration
from retrieval_gap.machine.terminal import LiveConsole
from retrieval_gap.runs.experiment import RunOptions
from retrieval_gap.training.loop import StepReport
from retrieval_gap.training.ranks import ALONE, Ranks

SHORTEST = 1.0  # seconds, to measure a pace
REDRAWN = 8  # times per second, at most
ROOMY = 70  # terminal columns, for a name and a bar
LINES = 20  # printed per run without a terminal, at most


class Watch:
    """The progress text of a run while it trains, with the time left and the last accuracy.

    The time left follows from the mean pace since the first step of this start, including pauses for validation and
    checkpoints: it does not jump with one slow step, and the compilation before the first step does not count.
    """

    def __init__(self, total: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.total, self._clock = total, clock
        self._first: tuple[int, float] | None = None
        self._report: StepReport | None = None
        self._accuracy: float | None = None

    def told(self, report: StepReport) -> str:
        """Time left, loss, pace and accuracy, as far as they are known."""
        self._report = report
        self._accuracy = self._accuracy if report.accuracy is None else report.accuracy
        return self.at(report.samples)

    def at(self, samples: int) -> str:
        """The same after a step, with loss and pace of the last report."""
        now = self._clock()
        self._first = self._first or (samples, now)
        trained, seconds = samples - self._first[0], now - self._first[1]
        parts = []
        if samples >= self.total:
            parts.append("decoding")
        elif trained and seconds >= SHORTEST:
            parts.append(f"{duration((self.total - samples) * seconds / trained)} left")
        if self._report is not None:
            parts += [f"loss {self._report.loss:.4f}", f"{self._report.samples_per_s:,.0f} samples/s"]
        elif trained and seconds >= SHORTEST:
            parts.append(f"{trained / seconds:,.0f} samples/s")
        if self._accuracy is not None:
            parts.append(f"accuracy {self._accuracy:.3f}")
        return "  ".join(parts) or "starting"


class _TerminalLine:
    """One line of a terminal, updated at most REDRAWN times a second."""

    def __init__(self, watch: Watch, show: Callable[[int, str], None]) -> None:
        self._watch, self._show, self._shown = watch, show, 0.0

    def report(self, told: StepReport) -> None:
        self._show(told.samples, self._watch.told(told))

    def at_step(self, samples: int) -> None:
        now = time.monotonic()
        if now - self._shown >= 1 / REDRAWN:
            self._shown = now
            self._show(samples, self._watch.at(samples))


def run_one(config: RunConfig, options: RunOptions, *, ranks: Ranks = ALONE) -> dict[str, Any]:
    """Train and evaluate one run here; its progress is one line in a terminal, elsewhere at most LINES lines."""
    options = replace(options, threads=options.threads or max(1, usable_cores() // ranks.place.local_count))
    console = LiveConsole()
    watch = Watch(config.training().steps * config.batch_size)
    if not console.updates:
        return execute(config, options, listener=Listener(report=_printed(config, watch)), ranks=ranks)
    with Progress(*_columns(console.width), console=console, expand=True) as bar:
        task = bar.add_task(config.label(), total=watch.total, told="starting")
        line = _TerminalLine(watch, lambda samples, told: bar.update(task, completed=samples, told=told))
        return execute(config, options, listener=Listener(report=line.report, at_step=line.at_step), ranks=ranks)


def _columns(width: int) -> list[ProgressColumn]:
    """Columns of the updated line, with the run's name and a bar if there is room for them."""
    told = TextColumn("{task.fields[told]}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis"))
    share = TaskProgressColumn(table_column=Column(no_wrap=True, min_width=4))
    if width < ROOMY:
        return [share, told]
    name = Column(ratio=1, no_wrap=True, overflow="ellipsis")
    return [TextColumn("{task.description}", markup=False, table_column=name), BarColumn(bar_width=10), share, told]


def _printed(config: RunConfig, watch: Watch) -> Callable[[StepReport], None]:
    """A report that prints at most LINES lines of a run, the last report among them."""
    total, printed = watch.total, 0

    def report(told: StepReport) -> None:
        nonlocal printed
        line = f"{config.label()}  {told.samples:,}/{total:,} samples  {watch.told(told)}"
        if told.samples * LINES // total > printed:
            printed = told.samples * LINES // total
            with contextlib.suppress(OSError):  # the reader has gone: no reason to stop training
                print(line, file=sys.stderr, flush=True)

    return report
