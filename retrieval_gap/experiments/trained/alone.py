"""Runs one cell in this process, with a progress bar."""

import contextlib
import sys
from dataclasses import replace
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from retrieval_gap.experiments.trained.config import RunConfig
from retrieval_gap.experiments.trained.run import Report, execute
from retrieval_gap.machine.environment import usable_cores
from retrieval_gap.runs.experiment import RunOptions
from retrieval_gap.training.loop import StepReport
from retrieval_gap.training.ranks import ALONE, Ranks

LINES = 20  # of a run, where there is no terminal


def run_one(config: RunConfig, options: RunOptions, *, ranks: Ranks = ALONE) -> dict[str, Any]:
    """Trains and evaluates one run here, with a progress bar (plain lines where there is no terminal)."""
    options = replace(options, threads=options.threads or max(1, usable_cores() // ranks.place.local_count))
    console = Console(stderr=True)
    if not console.is_terminal:
        return execute(config, options, report=_printed(config), ranks=ranks)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]:.4f}  {task.fields[speed]:,.0f} samples/s"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bar:
        total = config.training().steps * config.batch_size
        task = bar.add_task(config.label(), total=total, loss=float("nan"), speed=0.0)

        def report(_: RunConfig, told: StepReport) -> None:
            bar.update(task, completed=told.samples, loss=told.loss, speed=told.samples_per_s)

        return execute(config, options, report=report, ranks=ranks)


def _printed(config: RunConfig) -> Report:
    """Prints at most LINES lines of a run, the last report among them."""
    total = config.training().steps * config.batch_size
    printed = 0

    def report(config: RunConfig, told: StepReport) -> None:
        nonlocal printed
        if told.samples * LINES // total > printed:
            printed = told.samples * LINES // total
            _print_report(config, told)

    return report


def _print_report(config: RunConfig, told: StepReport) -> None:
    left = (config.samples - told.samples) / told.samples_per_s
    line = f"{config.label()}  {told.samples:,}/{config.samples:,} samples  loss {told.loss:.4f}"
    with contextlib.suppress(OSError):  # who read along went away: no reason to stop training
        print(f"{line}  {told.samples_per_s:,.0f} samples/s  {left:,.0f} s left", file=sys.stderr, flush=True)
