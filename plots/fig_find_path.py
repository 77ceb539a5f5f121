"""Paths in graphs of more nodes than a model was trained on, answered in four ways.

The table is that of `retrieval-gap transfer` on runs of find_path.
"""

from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from retrieval_gap.machine.errors import UsageError

from . import problems, style
from .page import legend_lines, line_of_panels, page
from .problems import ProblemRow, grouped, looks, models_of
from .results import RESULTS

DEFAULT_TABLE = RESULTS / "find_path_demo_transfer.csv"
_WAYS = {
    ("direct", ""): "Direct answer",
    ("cot", ""): "Chain of thought",
    ("rag", "one"): "One call",
    ("rag", "many"): "Interactive search",
}
_TRAINED: dict[str, Any] = {"color": style.INK, "linestyle": (0, (4, 2))}


def read_table(path: Path) -> list[ProblemRow]:
    """Raises UsageError for a table that has no paths in graphs of several sizes."""
    runs = [run for run in problems.read_tests(path) if run.problem.task == "find_path"]
    if not runs:
        raise UsageError(f"results table {path} has no run of find_path")
    return runs


def draw_figure(runs: list[ProblemRow]) -> Figure:
    """A panel for each way to answer."""
    found = grouped(runs, _way)
    ways, models = [way for way in _WAYS if way in found], models_of(runs)
    key = Line2D([], [], label="nodes trained on", **_TRAINED)
    title = "Does one node lead to another?"
    figure = page(title, legend_lines([*problems.keys(models), key]), _caption(runs), 2.8)
    panels = line_of_panels(figure, [_WAYS[way] for way in ways], x="nodes tested on", y="accuracy")
    for axes, way in zip(panels, ways, strict=True):
        _panel(axes, found[way], models)
    return figure


def _panel(axes: Axes, runs: list[ProblemRow], models: list[tuple[str, str]]) -> None:
    for model, some in grouped(runs, lambda run: run.model).items():
        problems.draw_line(axes, some, lambda run: run.tested_n, *looks(models)[model])
    for n in {run.problem.n for run in runs}:
        axes.axvline(n, linewidth=1.0, zorder=1, **_TRAINED)
    axes.axhline(runs[0].problem.built.guess, **problems.GREYED)
    problems.lengths_axis(axes, [run.tested_n for run in runs])


def _way(run: ProblemRow) -> tuple[str, str]:
    problem = run.problem
    return problem.mode, (problem.option("calls") or "many") if problem.mode == "rag" else ""


def _caption(runs: list[ProblemRow]) -> str:
    return (
        "Without a search a reader needs n/6 bits or more of the graph, with one the names of three nodes "
        f"(docs/theory.md, section 5). Grey: a guess. {problems.making(runs)}"
    )
