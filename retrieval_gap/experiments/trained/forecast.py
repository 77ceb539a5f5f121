"""How long a sweep takes, and what is left of it: from measured runs if there are any, else by the roofline.

Every number of hours has a mark for its source: `=` a run of the same view, problem size, curriculum and model was
measured on that hardware; `~` other runs were, of the same view and model if there are any, and their times are scaled
by the ratio of the rooflines; `?` nothing was measured there, and it is the roofline alone.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Literal

from rich.markup import escape
from rich.table import Table

from retrieval_gap.experiments.trained.config import RunConfig
from retrieval_gap.experiments.trained.cost import (
    ACHIEVED,
    GPU_KERNEL_S,
    GPUS,
    Hardware,
    cell_cost,
    machine_here,
    stretch,
)
from retrieval_gap.experiments.trained.paces import MeasuredPace, Part, measured_runs, on_machine, trained_config
from retrieval_gap.machine.terminal import wide_console
from retrieval_gap.runs.known import KnownRun

Source = Literal["measured", "scaled", "roofline"]
MARKS: dict[Source, str] = {"measured": "=", "scaled": "~", "roofline": "?"}  # no letters, which read as units
LEGEND = (
    "h hours: = measured, ~ scaled by the roofline from other cells measured there, ? roofline alone (an assumption)"
)


@dataclass(frozen=True)
class Duration:
    """Seconds of one cell alone, and where they come from."""

    seconds: float
    sources: frozenset[Source]


class RooflinePlanner:
    """The `Planner` of trained runs.  places: each worker's GPU, "" on the CPU, measured once in less than a second."""

    def print_plan(self, cells: Sequence[KnownRun], runs_dir: Path, places: Sequence[str]) -> None:
        print_forecast(cells, runs_dir, machine_here(tuple(places)))

    def print_left(self, cells: Sequence[KnownRun], runs_dir: Path, places: Sequence[str]) -> None:
        print_left(cells, runs_dir, machine_here(tuple(places)))

    def seconds_left(self, cells: Sequence[KnownRun], runs_dir: Path, places: Sequence[str]) -> float:
        return seconds_left(cells, runs_dir, machine_here(tuple(places)))


def estimate(config: RunConfig, machine: Hardware, runs: Sequence[MeasuredPace], todo: float = 1.0) -> Duration:
    """A cell's seconds on a machine.  todo: share of its training that is left.  runs: measured on this machine."""
    cost = cell_cost(config)
    evaluation = _scaled(machine.seconds(cost.evaluation), config, "evaluation", machine, runs)
    if todo == 0:
        return evaluation
    training = _scaled(machine.seconds(stretch(cost.training, 1 - todo, 1.0)), config, "training", machine, runs)
    return Duration(training.seconds + evaluation.seconds, training.sources | evaluation.sources)


def _scaled(
    roofline_s: float, config: RunConfig, part: Part, machine: Hardware, runs: Sequence[MeasuredPace]
) -> Duration:
    """The roofline's seconds of a part, or of the rest of it, scaled by the mean ratio of the nearest measured runs."""
    known = [run for run in runs if run.has_measured(part)]
    if not known:
        return Duration(roofline_s, frozenset({"roofline"}))
    alike = [run for run in known if _kind(run.config) == _kind(config)]
    distance = min((_distance(run.config, config) for run in alike), default=math.inf)
    nearest = [run for run in alike if _distance(run.config, config) == distance] or known
    pace = fmean(run.ratio(part, machine) for run in nearest)
    source: Source = "measured" if distance == 0 and all(run.has_measured_all(part) for run in nearest) else "scaled"
    return Duration(pace * roofline_s, frozenset({source}))


def _kind(config: RunConfig) -> tuple[str, ...]:
    return config.task, config.family, config.mode, config.arch, config.size, config.precision


def _distance(one: RunConfig, other: RunConfig) -> float:
    """0 if a step of one takes as long as a step of the other."""
    sizes = abs(math.log(one.n / other.n)) + abs(math.log(one.batch_size / other.batch_size))
    return sizes + (one.curriculum != other.curriculum)


def hours(cells: Sequence[Duration], machine: Hardware) -> str:
    """Hours until the last cell ends, with `machine.count` of them side by side, and the marks of the sources."""
    if not cells:
        return ""
    total = _side_by_side(cells, machine) / 3600
    number = f"{total:,.0f}" if total >= 10 else f"{total:.2f}" if total >= 0.005 else "<0.01"
    sources = frozenset[Source]().union(*(cell.sources for cell in cells))
    return f"{number}h {''.join(mark for source, mark in MARKS.items() if source in sources)}"


def seconds_left(cells: Sequence[KnownRun], runs_dir: Path, machine: Hardware) -> float:
    """Seconds until the last of these cells ends there, with `machine.count` of them side by side."""
    todo = {config: share for cell in cells if (config := trained_config(cell)) and (share := _todo(cell)) is not None}
    estimates = [one for (one,) in _estimates(todo, [machine], measured_runs(runs_dir)).values()]
    return _side_by_side(estimates, machine)


def _side_by_side(cells: Sequence[Duration], machine: Hardware) -> float:
    seconds = [cell.seconds for cell in cells]
    return max(sum(seconds) / machine.count, max(seconds, default=0.0))


def print_forecast(cells: Sequence[KnownRun], runs_dir: Path, here: Hardware) -> None:
    """Print what these cells need and how long they take on GPUs and here: in all, what is left, and by kind."""
    machines, runs = (*GPUS, here), measured_runs(runs_dir)
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("")
    for column in ("cells", "tokens", "pad", "FLOPs", *(machine.name for machine in machines)):
        table.add_column(column, justify="right", no_wrap=True)
    todo = {config: _todo(cell) for cell in cells if (config := trained_config(cell))}
    whole = _estimates(dict.fromkeys(todo, 1.0), machines, runs)
    for section in _sections(list(todo)):
        for name, configs in section.items():
            table.add_row(escape(name), *_amounts(configs), *_hours([whole[config] for config in configs], machines))
        if "all" in section and any(share != 1 for share in todo.values()):
            left = _estimates({config: share for config, share in todo.items() if share is not None}, machines, runs)
            table.add_row("left", str(len(left)), "", "", "", *_hours(list(left.values()), machines))
        table.add_section()
    console = wide_console()
    console.print(table)
    for line in (LEGEND, _assumptions(here)):
        console.print(line, soft_wrap=True, highlight=False)


def print_left(cells: Sequence[KnownRun], runs_dir: Path, here: Hardware) -> None:
    """Print the cells of a sweep by status (done, running, partial, failed, left), and the hours left here."""
    runs = measured_runs(runs_dir)
    by_status: dict[str, list[KnownRun]] = {"done": [], "running": [], "partial": [], "failed": [], "missing": []}
    for cell in cells:
        by_status[cell.run.status()].append(cell)
    table = Table(box=None, pad_edge=False)
    for column in ("", "cells", "samples", "hours left here"):
        table.add_column(column, justify="left" if not column else "right")
    for status, some in by_status.items():
        if some:
            table.add_row("left" if status == "missing" else status, *_left(some, here, runs))
    table.add_section()
    table.add_row("all", *_left(cells, here, runs))
    console = wide_console()
    console.print(table)
    console.print(f"{LEGEND}; {here.count} at a time", soft_wrap=True, highlight=False)


def _left(cells: Sequence[KnownRun], machine: Hardware, runs: Sequence[MeasuredPace]) -> list[str]:
    todo = {config: share for cell in cells if (config := trained_config(cell)) and (share := _todo(cell)) is not None}
    trained = sum(_samples_done(cell) for cell in cells)
    estimates = list(_estimates(todo, [machine], runs).values())
    return [str(len(cells)), f"{trained:,}", *_hours(estimates, [machine])]


def _todo(cell: KnownRun) -> float | None:
    """The share of a cell's training that is left; None if the cell is done, or failed for good."""
    if cell.experiment is None or cell.run.is_over():
        return None
    return 1 - cell.experiment.progress(cell.run).share


def _samples_done(cell: KnownRun) -> int:
    return cell.experiment.progress(cell.run).done if cell.experiment is not None else 0


def _sections(configs: Sequence[RunConfig]) -> list[dict[str, list[RunConfig]]]:
    """All, then by view and problem size, then by model, each in the order of the preset."""
    views: dict[str, list[RunConfig]] = {}
    models: dict[str, list[RunConfig]] = {}
    for config in configs:
        views.setdefault(f"{config.mode} n={config.n}", []).append(config)
        models.setdefault(f"{Path(config.arch).stem} {config.size}", []).append(config)
    return [{"all": list(configs)}, views, models]


def _amounts(configs: Sequence[RunConfig]) -> list[str]:
    costs = [cell_cost(config) for config in configs]
    tokens, padded = sum(cost.tokens for cost in costs), sum(cost.padded for cost in costs)
    return [
        str(len(configs)),
        _si(tokens),
        f"{1 - tokens / padded:.0%}" if padded else "",
        _si(sum(cost.flops for cost in costs)),
    ]


def _estimates(
    todo: Mapping[RunConfig, float], machines: Sequence[Hardware], runs: Sequence[MeasuredPace]
) -> dict[RunConfig, list[Duration]]:
    """Each cell's estimate on each machine.  todo: share of its training that is left."""
    known = [on_machine(machine, runs) for machine in machines]
    return {
        config: [estimate(config, machine, some, share) for machine, some in zip(machines, known, strict=True)]
        for config, share in todo.items()
    }


def _hours(cells: Sequence[Sequence[Duration]], machines: Sequence[Hardware]) -> list[str]:
    return [hours([cell[i] for cell in cells], machine) for i, machine in enumerate(machines)]


def _si(value: float) -> str:
    """Three digits and the prefix of a power of 1000."""
    power = min(6, max(0, int(math.log10(max(value, 1)) // 3)))
    return f"{value / 1000**power:.3g}{' kMGTPE'[power].strip()}"


def _assumptions(here: Hardware) -> str:
    return (
        f"roofline: longest of operations, memory traffic and kernels, at {ACHIEVED:.0%} of peak (fp32; data sheets:"
        f" H200 67 TFLOP/s and 4.8 TB/s, A100 80GB 19.5 and 2.04), {GPU_KERNEL_S * 1e6:g} us a kernel, one cell a GPU;"
        f" here {here.count} at a time, at {ACHIEVED:.0%} of {here.flops_per_s / ACHIEVED / 1e9:.3g} GFLOP/s and"
        f" {here.bytes_per_s / ACHIEVED / 1e9:.3g} GB/s a thread, {here.kernel_s * 1e6:.2g} us a call, measured now"
    )
