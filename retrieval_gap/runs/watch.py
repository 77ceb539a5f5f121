"""The progress display of a sweep: a live table in a terminal, plain lines elsewhere, both on standard error.

All of it is read from the run directories, whether a local worker, a cluster node or another sweep works on them.
"""

import contextlib
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from retrieval_gap.machine.errors import UsageError
from retrieval_gap.machine.printing import duration
from retrieval_gap.machine.terminal import LiveConsole
from retrieval_gap.runs.directory import RunDirectory
from retrieval_gap.runs.executors.cells import STOPPED, CellEnded
from retrieval_gap.runs.experiment import Experiment, Progress, Row
from retrieval_gap.tasks.api import TaskError

STATUS_SECONDS = 30.0
FORECAST_SECONDS = 10.0  # between two forecasts, so that new measurements count
Forecast = Callable[[], float]
"""Seconds until the last cell ends."""


class AtWork(NamedTuple):
    """A running cell, and how far it is."""

    label: str
    progress: Progress

    @property
    def seconds_left(self) -> float | None:
        """None without a pace: before the first report, and if the remaining work is not counted."""
        now = self.progress
        return (now.total - now.done) / now.per_s if now.per_s else None

    def left(self) -> str:
        return self.progress.doing if self.seconds_left is None else duration(self.seconds_left)

    def line(self) -> str:
        if self.seconds_left is None:
            return self.progress.doing
        return f"{self.progress.share:.0%}, {self.pace()} {self.progress.unit}/s, {self.left()} left"

    def pace(self) -> str:
        per_s = self.progress.per_s
        return "" if per_s is None else f"{per_s:,.0f}" if per_s >= 10 else f"{per_s:.2g}"


def watch(runs: Mapping[Experiment, RunDirectory], events: Iterator[CellEnded | None], forecast: Forecast) -> None:
    """Show a sweep's progress until its end.  events: those of `run_cells`."""
    board = _Board(runs, forecast)
    console = LiveConsole()
    if console.updates:
        with Live(console=console, transient=True, auto_refresh=False, redirect_stdout=False) as live:
            for event in events:
                if event is not None:
                    console.print(board.take(event))
                live.update(board.table(), refresh=True)
        return
    told = time.monotonic()
    for event in events:
        if event is not None:
            console.print(board.take(event), soft_wrap=True)
        elif time.monotonic() - told > STATUS_SECONDS:
            told = time.monotonic()
            console.print(board.line(), soft_wrap=True)


def names_of(cells: Iterable[Experiment]) -> dict[Experiment, str]:
    """Each cell's label, with the settings in which it differs from cells of the same label: `..., lr 0.001`."""
    alike: dict[str, list[Experiment]] = defaultdict(list)
    for cell in cells:
        alike[cell.label()].append(cell)
    names = {}
    for label, same in alike.items():
        values = [cell.filter_values() for cell in same] if len(same) > 1 else [{}]
        differ = [key for key, value in values[0].items() if any(each.get(key) != value for each in values)]
        for cell, own in zip(same, values, strict=True):
            told = [str(own[key]) if key == "options" else f"{key} {own[key]}" for key in differ if own.get(key)]
            names[cell] = ", ".join([label, *told])
    return names


class _Board:
    """The counts of a sweep's cells, and its running cells."""

    def __init__(self, runs: Mapping[Experiment, RunDirectory], forecast: Forecast) -> None:
        self._runs, self._forecast, self._names = runs, forecast, names_of(runs)
        self._done = {cell for cell, run in runs.items() if run.result.exists()}
        self._failed: dict[Experiment, str] = {}
        self._started = time.monotonic()
        self._end, self._foreseen = 0.0, float("-inf")

    def take(self, event: CellEnded) -> str:
        """Count an ended cell; return a line about it."""
        told, name = event.reason, self._names[event.cell]
        if not told:
            self._done.add(event.cell)
            told = summary(event.cell, self._runs[event.cell].rows(event.cell))
        elif told != STOPPED:
            self._failed[event.cell] = told
        return f"{self._minutes():5.1f} min  {len(self._done)}/{len(self._runs)} done  {name}: {told}"

    def line(self) -> str:
        """Counts and running cells, for a file."""
        at_work = self._at_work()
        cells = ", ".join(f"{cell.label} ({cell.line()})" for cell in at_work)
        return f"{self._counts(len(at_work))}{'; running: ' if cells else ''}{cells}"

    def table(self) -> Group:
        """Counts, failed cells and running cells, for a terminal of any width."""
        at_work = self._at_work()
        table = Table(box=None, pad_edge=False, show_header=bool(at_work))
        table.add_column("running", no_wrap=True, overflow="ellipsis")
        unit = at_work[0].progress.unit if at_work else ""
        for column in ("done", f"{unit}/s", "left"):
            table.add_column(column, justify="right", no_wrap=True, min_width=len(column))
        for cell in at_work:
            table.add_row(cell.label, f"{cell.progress.share:.0%}", cell.pace(), cell.left())
        failed = [_failed_line(self._names[cell], reason) for cell, reason in self._failed.items()]
        return Group(Text(self._counts(len(at_work)), "bold"), *failed, table)

    def _counts(self, running: int) -> str:
        done, failed, every = len(self._done), len(self._failed), len(self._runs)
        waiting = max(0, every - done - failed - running)
        told = f"{done}/{every} done, {running} running, {failed} failed, {waiting} waiting; {self._minutes():.1f} min"
        if not waiting + running:
            return told
        left = self._seconds_left()
        if not left:  # no forecast yet
            return told
        day = "%H:%M" if left < 20 * 3600 else "%a %d %b %H:%M"
        return f"{told}, about {duration(left)} left, until {datetime.now() + timedelta(seconds=left):{day}}"

    def _at_work(self) -> list[AtWork]:
        left = (cell for cell in self._runs if cell not in self._done and cell not in self._failed)
        at_work = ((cell, self._runs[cell]) for cell in left if self._runs[cell].status() == "running")
        return [AtWork(self._names[cell], cell.progress(run)) for cell, run in at_work]

    def _minutes(self) -> float:
        return (time.monotonic() - self._started) / 60

    def _seconds_left(self) -> float:
        now = time.monotonic()
        if now - self._foreseen >= FORECAST_SECONDS:
            self._foreseen = now
            # Without a new forecast while a user's file is being edited.
            with contextlib.suppress(UsageError, TaskError):
                self._end = now + self._forecast()
        return max(0.0, self._end - now)


def summary(cell: Experiment, rows: Sequence[Row]) -> str:
    """A finished cell's results, in a few words."""
    if len(rows) != 1:
        return f"{len(rows)} rows"
    told = ((name, rows[0].get(name)) for name in cell.measures)
    return ", ".join(f"{name.replace('_', ' ')} {value:.3f}" for name, value in told if value is not None)


def _failed_line(name: str, reason: str) -> Text:
    return Text(f"failed: {name}: {reason}", "red", no_wrap=True, overflow="ellipsis")
