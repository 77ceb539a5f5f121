"""The same problems with the query after and before the sequence, against the bits that each way needs.

A point left of 1 has less state than an always right reader needs; a model that fails right of it, also with the query
first, has not learned.
"""

from collections import Counter
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from retrieval_gap.machine.errors import UsageError

from . import by_problem, style
from .by_problem import ProblemMean, ProblemRow, Runs, grouped, models_of
from .page import line_of_panels, page, shape_of_panels
from .results import RESULTS

DEFAULT_TABLE = RESULTS / "query_first_demo.csv"
_COLOURS = {"last": "#D55E00", "first": "#0072B2"}
MOST_IN_A_LINE = 4  # panels
_SMALLEST, _STEP = 3.5, 1.5  # size of a mark in points: at the smallest n, and the increase for each larger one
_TOLD = {"last": "query last", "first": "query first: a few bits to carry"}


def read_table(path: Path) -> Runs:
    """Models with a state of fixed size.  Raises UsageError for a table without one with the query first."""
    every = by_problem.read_runs(path)
    runs = every.only(lambda run: not _why_not(run), "recurrent model with a bound (options query=first)", _why_not)
    if not any(_query(run) == "first" for run in runs.rows):
        raise UsageError(f"results table {path} has no recurrent model that was asked first (options query=first)")
    return runs


def _why_not(run: ProblemRow) -> str:
    """Why a run has no place on the axis; "" if it has one."""
    if run.problem.mode == "rag":
        return "retrieval"
    if run.problem.bound is None:
        return f"task {run.problem.task}, of which no bound is known"
    if not run.state_is_fixed:
        return f"{style.name_of(run.arch)} (no state of fixed size)"
    return "" if run.state_bits else "a state whose bits are not told"


def draw_figure(runs: Runs) -> Figure:
    """A panel for each task, and for options that differ in more than the query."""
    asked = grouped(runs.rows, lambda run: (run.problem.task, run.problem.family, run.problem.without("query")))
    archs = list(dict.fromkeys(arch for arch, _ in models_of(runs.rows)))
    marks = style.architecture_markers(archs)
    legend = [
        *(Line2D([], [], color=colour, linewidth=3, label=_TOLD[query]) for query, colour in _COLOURS.items()),
        *(
            Line2D([], [], **style.filled_marker(marks[a], style.GREY), ls="none", label=style.name_of(a))
            for a in archs
        ),
        Line2D([], [], color=style.INK, linestyle=(0, (4, 2)), label="bits needed"),
    ]
    height = 3.3 * shape_of_panels(len(asked), MOST_IN_A_LINE)[0]
    figure = page("Accuracy with the query last and first", [legend], _caption(runs), height)
    panels = line_of_panels(
        figure, _titles(list(asked)), x="bits of state / bits needed", y="accuracy", most=MOST_IN_A_LINE
    )
    for axes, some in zip(panels, asked.values(), strict=True):
        _panel(axes, some, marks)
    return figure


def _titles(asked: list[tuple[str, str, str]]) -> list[str]:
    """The task; if it has several panels, its family and options too."""
    tasks = Counter(task for task, _, _ in asked)
    return [
        "\n".join([style.name_of_task(task), *([f"{family} {options}".strip()] if tasks[task] > 1 else [])])
        for task, family, options in asked
    ]


def _panel(axes: Axes, runs: list[ProblemRow], marks: dict[str, str]) -> None:
    ns = sorted({run.problem.n for run in runs})
    points = grouped(runs, lambda run: (run.problem, run.model))
    for (problem, (arch, _)), some in points.items():
        mean, colour = ProblemMean(tuple(some)), _COLOURS[_query(some[0])]
        mark = style.filled_marker(marks[arch], colour) | {"markersize": _SMALLEST + _STEP * ns.index(problem.n)}
        axes.errorbar(_share(some[0]), mean.accuracy, yerr=style.interval([mean]), elinewidth=0.8, **mark)
    axes.set_xscale("log")
    axes.axvline(1, color=style.INK, linestyle=(0, (4, 2)), linewidth=1.0)
    axes.set_ylim(-0.03, 1.04)
    axes.grid(axis="y")


def _query(run: ProblemRow) -> str:
    return run.problem.option("query") or "last"


def _share(run: ProblemRow) -> float:
    assert run.problem.bound is not None
    assert run.state_bits is not None
    return run.state_bits / run.problem.bound.bits_needed


def _caption(runs: Runs) -> str:
    ns = ", ".join(map(str, sorted({run.problem.n for run in runs.rows})))
    return (
        f"Larger marks: larger n ({ns}). Bits needed: with fewer, no model is always right (docs/theory.md, section "
        "5); with the query first they are those of the query or of its answer. Left of the line no model can be "
        "always right; right of it a failure is a failure of learning. " + by_problem.making(runs)
    )
