"""The last value of one of m variables, by the length of the stream: the bits needed do not grow with it.

The floor is a guess among all values that the variable was given; between it and 1 a model has to know their order.
"""

from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from retrieval_gap.machine.errors import UsageError
from retrieval_gap.tasks.last_write import LastWrite

from . import problems, style
from .page import legend_lines, line_of_panels, page
from .problems import ProblemRow, grouped, looks, models_of
from .results import RESULTS

DEFAULT_TABLE = RESULTS / "last_write_demo.csv"
_FLOOR: dict[str, Any] = {"color": style.INK, "linestyle": (0, (4, 2))}


def read_table(path: Path) -> list[ProblemRow]:
    """Raises UsageError for a table that has no run of last_write."""
    runs = [run for run in problems.read_runs(path) if run.problem.task == "last_write"]
    if not runs:
        raise UsageError(f"results table {path} has no run of last_write")
    return runs


def draw_figure(runs: list[ProblemRow]) -> Figure:
    """A panel for each number of variables."""
    numbers = grouped(sorted(runs, key=_variables), _variables)
    models = models_of(runs)
    key = Line2D([], [], label="a guess among the values given", **_FLOOR)
    figure = page("Last write", legend_lines([*problems.keys(models), key]), _caption(runs), 3.0)
    panels = line_of_panels(figure, list(map(_title, numbers.values())), x="tokens of the stream n", y="accuracy")
    for axes, some in zip(panels, numbers.values(), strict=True):
        _panel(axes, some, models)
    return figure


def _panel(axes: Axes, runs: list[ProblemRow], models: list[tuple[str, str]]) -> None:
    for model, some in grouped(runs, lambda run: run.model).items():
        problems.draw_line(axes, some, lambda run: run.problem.n, *looks(models)[model])
    floors = {run.problem.n: _task(run).guess_among_writes for run in runs}
    axes.plot(*zip(*sorted(floors.items()), strict=True), linewidth=1.0, zorder=1, **_FLOOR)
    axes.axhline(runs[0].problem.built.guess, **problems.GREYED)
    problems.lengths_axis(axes, floors)


def _task(run: ProblemRow) -> LastWrite:
    task = run.problem.built
    assert isinstance(task, LastWrite)
    return task


def _variables(run: ProblemRow) -> int:
    return _task(run).options.variables


def _title(runs: list[ProblemRow]) -> str:
    task = _task(runs[0])
    return f"{task.options.variables} variables of {task.options.values} values: {task.bits_to_cross:g} bits"


def _caption(runs: list[ProblemRow]) -> str:
    return (
        "The bits that have to be carried are the same at every length. Grey: a guess among all values. "
        f"{problems.making(runs)}"
    )
