"""Products of group elements, at the length of training and at others: what a state can track, and what only fits.

The table is that of `retrieval-gap transfer` on runs of word_problem.
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

DEFAULT_TABLE = RESULTS / "tracking_demo_transfer.csv"
_TRAINED: dict[str, Any] = {"color": style.INK, "linestyle": (0, (4, 2))}


def read_table(path: Path) -> list[ProblemRow]:
    """Raises UsageError for a table that has no word problems at several lengths."""
    runs = [run for run in problems.read_tests(path) if run.problem.task == "word_problem"]
    if not runs:
        raise UsageError(f"results table {path} has no run of word_problem")
    return runs


def draw_figure(runs: list[ProblemRow]) -> Figure:
    """A panel for each group."""
    groups, models = grouped(runs, lambda run: run.problem.option("group")), models_of(runs)
    key = Line2D([], [], label="length of training", **_TRAINED)
    figure = page("Products of group elements", legend_lines([*problems.keys(models), key]), _caption(runs), 3.0)
    panels = line_of_panels(figure, list(map(_title, groups.values())), x="elements n", y="accuracy")
    for axes, some in zip(panels, groups.values(), strict=True):
        _panel(axes, some, models)
    return figure


def _panel(axes: Axes, runs: list[ProblemRow], models: list[tuple[str, str]]) -> None:
    for model, some in grouped(runs, lambda run: run.model).items():
        problems.draw_line(axes, some, lambda run: run.tested_n, *looks(models)[model])
    for n in {run.problem.n for run in runs}:
        axes.axvline(n, linewidth=1.0, zorder=1, **_TRAINED)
    axes.axhline(runs[0].problem.built.guess, **problems.GREYED)
    problems.lengths_axis(axes, [run.tested_n for run in runs])


def _title(runs: list[ProblemRow]) -> str:
    problem = runs[0].problem
    bits = "" if problem.bound is None else f", {problem.bound.bits_needed:.1f} bits"
    return f"{problem.option('group')}{bits}"


def _caption(runs: list[ProblemRow]) -> str:
    asked = {run.problem.option("ask") for run in runs}
    how = "Products are asked for after each element and not read back. " if asked == {"each"} else ""
    return (
        f"{how}Grey: a guess. So few bits are enough at every length that no ceiling on memory says anything: what "
        f"decides is what a layer computes in a step. {problems.making(runs)}"
    )
