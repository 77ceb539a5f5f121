"""What a sweep shows while it runs: a live table in a terminal, plain lines elsewhere, both on standard error.

All of it is read from the run directories, whoever works on them: a worker here, a node of a cluster, another sweep.
"""

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from retrieval_gap.experiments.trained.config import RunConfig
from retrieval_gap.runs.directory import RunDirectory
from retrieval_gap.runs.executors.cells import STOPPED, CellEnded

STATUS_SECONDS = 30.0
FORECAST_SECONDS = 10.0  # between two: what was measured meanwhile counts
Forecast = Callable[[], float]
"""Seconds until the last cell ends."""


class AtWork(NamedTuple):
    """A cell that runs.  samples_per_s: at its last report; None before the first, and while it decodes."""

    label: str
    share: float
    samples_per_s: float | None
    seconds_left: float | None
    doing: str


def watch(runs: Mapping[RunConfig, RunDirectory], events: Iterator[CellEnded | None], forecast: Forecast) -> None:
    """Follows a sweep to its end.  events: those of `run_cells`."""
    board = _Board(runs, forecast)
    console = _LastingConsole(stderr=True, markup=False, highlight=False)
    if console.is_terminal:
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


class _LastingConsole(Console):
    """Goes quiet where the reader of standard error goes away; rich would end the process."""

    def on_broken_pipe(self) -> None:
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


class _Board:
    """Counts of a sweep's cells, and those that run."""

    def __init__(self, runs: Mapping[RunConfig, RunDirectory], forecast: Forecast) -> None:
        self._runs, self._forecast = runs, forecast
        self._done = {config for config, run in runs.items() if run.result.exists()}
        self._failed: dict[RunConfig, str] = {}
        self._started = time.monotonic()
        self._end, self._foreseen = 0.0, float("-inf")

    def take(self, event: CellEnded) -> str:
        """Counts a cell's end; a line about it."""
        told, label = event.reason, event.config.label()
        if not told:
            self._done.add(event.config)
            row = self._runs[event.config].row()
            told = f"accuracy {row['accuracy']:.3f}, exact trace {row['exact_trace']:.3f}"
        elif told != STOPPED:
            self._failed[event.config] = told
        return f"{self._minutes():5.1f} min  {len(self._done)}/{len(self._runs)} done  {label}: {told}"

    def line(self) -> str:
        """Counts and what runs, for a file."""
        at_work = self._at_work()
        cells = ", ".join(f"{cell.label} ({_progress(cell)})" for cell in at_work)
        return f"{self._counts(len(at_work))}{'; running: ' if cells else ''}{cells}"

    def table(self) -> Group:
        """Counts, what failed and what runs, for a terminal of any width."""
        at_work = self._at_work()
        table = Table(box=None, pad_edge=False, show_header=bool(at_work))
        table.add_column("running", no_wrap=True, overflow="ellipsis")
        for column in ("done", "samples/s", "left"):
            table.add_column(column, justify="right", no_wrap=True, min_width=len(column))
        for cell in at_work:
            table.add_row(
                cell.label,
                f"{cell.share:.0%}",
                f"{cell.samples_per_s:,.0f}" if cell.samples_per_s else "",
                _duration(cell.seconds_left) if cell.seconds_left is not None else cell.doing,
            )
        failed = [_failed_line(config, reason) for config, reason in self._failed.items()]
        return Group(Text(self._counts(len(at_work)), "bold"), *failed, table)

    def _counts(self, running: int) -> str:
        done, failed, every = len(self._done), len(self._failed), len(self._runs)
        waiting = max(0, every - done - failed - running)
        told = f"{done}/{every} done, {running} running, {failed} failed, {waiting} waiting; {self._minutes():.1f} min"
        if not waiting + running:
            return told
        left = self._seconds_left()
        day = "%H:%M" if left < 20 * 3600 else "%a %d %b %H:%M"
        return f"{told}, about {_duration(left)} left, until {datetime.now() + timedelta(seconds=left):{day}}"

    def _at_work(self) -> list[AtWork]:
        left = (config for config in self._runs if config not in self._done and config not in self._failed)
        return [_at_work(config, self._runs[config]) for config in left if self._runs[config].status() == "running"]

    def _minutes(self) -> float:
        return (time.monotonic() - self._started) / 60

    def _seconds_left(self) -> float:
        now = time.monotonic()
        if now - self._foreseen >= FORECAST_SECONDS:
            self._end, self._foreseen = now + self._forecast(), now
        return max(0.0, self._end - now)


def _at_work(config: RunConfig, run: RunDirectory) -> AtWork:
    reports = run.reports()
    total = config.training().steps * config.batch_size
    last = reports[-1] if reports else {"samples": 0}
    share, pace = last["samples"] / total, last.get("samples_per_s")
    if share >= 1:
        return AtWork(config.label(), share, None, None, f"decoding {run.counted().samples / config.eval_samples:.0%}")
    if not pace:
        return AtWork(config.label(), share, None, None, "starting")
    return AtWork(config.label(), share, pace, (total - last["samples"]) / pace, "training")


def _failed_line(config: RunConfig, reason: str) -> Text:
    return Text(f"failed: {config.label()}: {reason}", "red", no_wrap=True, overflow="ellipsis")


def _progress(cell: AtWork) -> str:
    if cell.samples_per_s is None or cell.seconds_left is None:
        return cell.doing
    return f"{cell.share:.0%}, {cell.samples_per_s:,.0f} samples/s, {_duration(cell.seconds_left)} left"


def _duration(seconds: float) -> str:
    """In the largest unit that leaves a digit before the point."""
    for size, name in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {name}"
    return f"{seconds:.0f} s"
