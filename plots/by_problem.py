"""Runs of any task as the card's figures use them: grouped by problem, with the problem's bound.

A problem is a task with its options, view and size; a model is an architecture with its size.
"""

import shlex
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar, cast

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from retrieval_gap.about import MeasuredState, in_order, state_kind
from retrieval_gap.machine.errors import UsageError
from retrieval_gap.tables.identity import Identity, identity_of
from retrieval_gap.tables.texts import read_rows
from retrieval_gap.tables.values import count_in, count_or_none, naturally, number_in, share_in
from retrieval_gap.tasks.api import Mode, Task, TaskConfig
from retrieval_gap.theory.bounds import BOUNDS, Bound, bound_of

from . import style
from .caption import INTERVALS, SEED_INTERVALS, hardware, held_out, left_out
from .kept import Kept, number_of
from .page import line_of_panels, page
from .probes import task_of
from .seeds import Seeds, by_test, pooled

TEXT = ("task", "family", "mode", "options", "arch", "size", "hardware")
COUNTS = ("n", "seed", "samples", "eval_samples")
SHARES = ("accuracy", "accuracy_low", "accuracy_high")
LEARNED = 0.9  # the accuracy from which a model counts as having learned a problem
DASHED: dict[str, Any] = {"color": style.INK, "linestyle": (0, (4, 2))}
GREYED: dict[str, Any] = {"color": style.GREY, "linewidth": 0.9, "zorder": 1}


@dataclass(frozen=True, kw_only=True)
class AskedProblem:
    """A problem: `mode` is the view, `options` the task's own.  where: the file and line of a row on it."""

    task: str
    family: str
    mode: str
    options: str
    n: int
    where: str = field(default="", compare=False)

    @cached_property
    def built(self) -> Task:
        """Raises UsageError as `task_of` does."""
        config = TaskConfig(n=self.n, mode=cast(Mode, self.mode), family=self.family, options=self.options)
        return task_of(self.where, self.task, config)

    @cached_property
    def bound(self) -> Bound | None:
        """What any reader can do; None for a view that reads the context again, and if theory has no bound."""
        if self.task not in BOUNDS or self.mode == "rag":
            return None
        task = self.built
        try:
            return bound_of(task)
        except UsageError:  # a family without one
            return None

    @property
    def _words(self) -> list[str]:
        try:
            return shlex.split(self.options)
        except ValueError as error:
            raise UsageError(f"{self.where}: options = {self.options!r} is invalid: {error}") from None

    def option(self, name: str) -> str:
        """The value of one of the task's own options; "" if the row does not have it."""
        words = (word.partition("=") for word in self._words)
        return next((value for key, _, value in words if key == name), "")

    def without(self, *names: str) -> str:
        """The options without these."""
        return " ".join(word for word in self._words if word.partition("=")[0] not in names)


@dataclass(frozen=True, kw_only=True)
class ProblemRow:
    """A row: shares with their 95 % Wilson interval.

    state_bits, bits_per_token: of the state at the end of a trace, and what a token adds to them; None if the table
    does not have them.  tested_n: n of a transfer test, else 0.  row: the columns that only this figure needs.
    """

    problem: AskedProblem
    identity: Identity
    arch: str
    size: str
    seed: int
    samples: int
    eval_samples: int
    accuracy: float
    low: float
    high: float
    hardware: str
    state_bits: int | None = None
    bits_per_token: int | None = None
    tested_n: int = 0
    lr: float = 0.0
    row: tuple[tuple[str, str], ...] = ()

    @property
    def model(self) -> tuple[str, str]:
        return self.arch, self.size

    @property
    def state_is_fixed(self) -> bool:
        key = (self.problem.task, self.problem.mode, self.size)
        measured = MeasuredState(key, self.tested_n or self.problem.n, self.state_bits, self.bits_per_token)
        return state_kind(self.arch, [measured]) == "fixed"

    def told(self, column: str) -> str:
        """The value of a column that only this figure needs."""
        return dict(self.row)[column]


ProblemMean = Seeds[ProblemRow]
"""The seeds of one model on one problem: their mean, and the envelope of their intervals."""


Panel = Callable[[Axes, list[ProblemRow], list[tuple[str, str]]], None]
"""Draws runs, of these models of the figure."""


Runs = Kept[ProblemRow]


def read_runs(path: Path, more: Sequence[str] = ()) -> Runs:
    """Raises UsageError for a table that is invalid, has no row, or lacks one of the columns that the figure needs."""
    runs = tuple(_run(where, row, more) for where, row in read_rows(path, (*TEXT, *COUNTS, *SHARES, "lr", *more)))
    if not runs:
        raise UsageError(f"results table {path} is empty: no run has finished")
    return Runs(path, runs)


def _run(where: str, row: dict[str, str], more: Sequence[str]) -> ProblemRow:
    counts = {name: count_in(where, row, name) for name in COUNTS}
    accuracy, low, high = (share_in(where, row, name) for name in SHARES)
    return ProblemRow(
        problem=AskedProblem(
            **{name: row[name] for name in ("task", "family", "mode", "options")}, n=counts.pop("n"), where=where
        ),
        identity=identity_of(where, row),
        arch=row["arch"],
        size=row["size"],
        accuracy=accuracy,
        low=low,
        high=high,
        hardware=row["hardware"],
        state_bits=count_or_none(where, row, "state_bits"),
        bits_per_token=count_or_none(where, row, "state_bits_per_token"),
        tested_n=count_or_none(where, row, "tested_n") or 0,
        lr=number_in(where, row, "lr"),
        row=tuple((name, row[name]) for name in more),
        **counts,
    )


def read_tests(path: Path) -> Runs:
    """Runs of a table of `retrieval-gap transfer`, all answers of a test pooled.

    Raises UsageError as `read_runs` does, and for a table of tests at only one size.
    """
    rows = read_runs(path, ("tested_n", "answer")).rows
    runs = tuple(replace(parts[0], **pooled(parts)) for parts in by_test(rows))
    if len({run.tested_n for run in runs}) < 2:
        raise UsageError(f"results table {path} has tests at one size alone; retrieval-gap transfer RUN... --n 8,16,32")
    return Runs(path, runs)


def of_task(runs: Runs, task: str) -> Runs:
    """A table's runs of one task.  Raises UsageError if there is none."""
    return runs.only(lambda run: run.problem.task == task, f"run of {task}", lambda run: f"task {run.problem.task}")


K = TypeVar("K", bound=Hashable)


def grouped(runs: Iterable[ProblemRow], key: Callable[[ProblemRow], K]) -> dict[K, list[ProblemRow]]:
    """Runs by a key, in the order in which keys appear."""
    groups: dict[K, list[ProblemRow]] = defaultdict(list)
    for run in runs:
        groups[key(run)].append(run)
    return dict(groups)


def models_of(runs: Iterable[ProblemRow]) -> list[tuple[str, str]]:
    """The models, in the order of legends."""
    models = {run.model for run in runs}
    by_size = sorted(models, key=lambda model: naturally(model[1]))
    return [model for arch in in_order({arch for arch, _ in models}) for model in by_size if model[0] == arch]


def label(model: tuple[str, str], models: Sequence[tuple[str, str]]) -> str:
    """An architecture's name, with the changes of its size if another model has the same architecture."""
    arch, size = model
    sizes = [other.split("+") for name, other in models if name == arch]
    common = set.intersection(*map(set, sizes))
    changes = [part for part in size.split("+") if part not in common]
    return " ".join([style.name_of(arch), *changes])


def looks(models: Sequence[tuple[str, str]]) -> dict[tuple[str, str], tuple[str, str]]:
    """Colour and mark of each model: the architecture's, with other marks if it has several sizes."""
    archs = list(dict.fromkeys(arch for arch, _ in models))
    colours, marks = style.colours(archs), style.architecture_markers(archs)
    several = {arch for arch in archs if sum(name == arch for name, _ in models) > 1}
    return {
        model: (colours[model[0]], style.MARKS[i % len(style.MARKS)] if model[0] in several else marks[model[0]])
        for i, model in enumerate(models)
    }


def keys(models: Sequence[tuple[str, str]]) -> list[Line2D]:
    """A legend's keys of these models."""
    return [
        Line2D([], [], **style.filled_marker(mark, colour), label=label(model, models))
        for model, (colour, mark) in looks(models).items()
    ]


def draw_line(axes: Axes, runs: Sequence[ProblemRow], x: Callable[[ProblemRow], float], colour: str, mark: str) -> None:
    """A model's means over x, with their intervals and seeds."""
    points = {place: ProblemMean(tuple(some)) for place, some in sorted(grouped(runs, x).items())}
    xs, means = list(points), list(points.values())
    ys = [mean.accuracy for mean in means]
    axes.errorbar(xs, ys, yerr=style.interval(means), ecolor=colour, elinewidth=0.9, fmt="none")
    axes.plot(xs, ys, linewidth=1.2, **style.filled_marker(mark, colour))
    for place, mean in points.items():
        style.seed_dots(axes, [(place, run.accuracy) for run in mean.runs])


def lengths_axis(axes: Axes, values: Iterable[float]) -> None:
    """A scale of doublings with a tick at each value, and shares up to 1."""
    style.doublings(axes, values)
    axes.set_ylim(-0.03, 1.04)
    axes.grid(axis="y")


def draw_models(
    axes: Axes, runs: Sequence[ProblemRow], models: Sequence[tuple[str, str]], x: Callable[[ProblemRow], int]
) -> None:
    """A panel of one problem at several lengths: a line for each model, and the accuracy of a guess."""
    for model, some in grouped(runs, lambda run: run.model).items():
        draw_line(axes, some, x, *looks(models)[model])
    axes.axhline(runs[0].problem.built.guess, **GREYED)
    lengths_axis(axes, map(x, runs))


def draw_tests(axes: Axes, runs: Sequence[ProblemRow], models: Sequence[tuple[str, str]]) -> None:
    """`draw_models` by the length of the test; a vertical line at the length of training."""
    draw_models(axes, runs, models, lambda run: run.tested_n)
    for n in {run.problem.n for run in runs}:
        axes.axvline(n, linewidth=1.0, zorder=1, **DASHED)


def figure_of_panels(
    title: str, panels: Mapping[str, list[ProblemRow]], draw: Panel, *, dashed: str, caption: str, x: str, height: float
) -> Figure:
    """A line of panels, each of the runs under its title, and the key of all models.  dashed: a dashed line's label."""
    models = models_of(run for runs in panels.values() for run in runs)
    key = Line2D([], [], label=dashed, **DASHED)
    figure = page(title, [[*keys(models), key]], caption, height)
    for axes, runs in zip(line_of_panels(figure, list(panels), x=x, y="accuracy"), panels.values(), strict=True):
        draw(axes, runs, models)
    return figure


def making(table: Runs, *, bars: bool = True) -> str:
    """For a caption: what was measured, on how much, and what is not drawn.  bars: whether there are error bars."""
    runs = table.rows
    seeds = len({run.seed for run in runs})
    samples = number_of({run.samples for run in runs}, "training sample")
    parts = (
        f"Free decoding of {held_out(runs)}; an undecided answer counts as a guess.",
        f"{samples}, {number_of({seeds}, 'seed')}.",
        "Values are means of the seeds." if seeds > 1 and not bars else "",
        (INTERVALS if seeds == 1 else SEED_INTERVALS) if bars else "",
        f"Hardware: {hardware(runs)}.",
        left_out(table.left_out),
    )
    return " ".join(filter(None, parts))
