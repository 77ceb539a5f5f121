"""The last value of one of m variables, by the length of the stream: the bits needed do not grow with it.

The floor names the value that the variable was given most often; above it a model has to know the order of the values.
"""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from retrieval_gap.tasks.last_write import LastWrite

from . import by_problem
from .by_problem import ProblemRow, Runs, grouped
from .results import RESULTS

DEFAULT_TABLE = RESULTS / "last_write_demo.csv"


def read_table(path: Path) -> Runs:
    """Raises UsageError for a table that has no run of last_write."""
    return by_problem.of_task(by_problem.read_runs(path), "last_write")


def draw_figure(runs: Runs) -> Figure:
    """A panel for each number of variables."""
    numbers = grouped(sorted(runs.rows, key=_variables), _variables)
    return by_problem.figure_of_panels(
        "Last write", {_title(some): some for some in numbers.values()}, _panel,
        dashed="the value given most often", caption=_caption(runs), x="tokens of the stream n", height=3.0,
    )  # fmt: skip


def _panel(axes: Axes, runs: list[ProblemRow], models: list[tuple[str, str]]) -> None:
    by_problem.draw_models(axes, runs, models, lambda run: run.problem.n)
    floors = {run.problem.n: _task(run).accuracy_without_order for run in runs}
    axes.plot(*zip(*sorted(floors.items()), strict=True), linewidth=1.0, zorder=1, **by_problem.DASHED)


def _task(run: ProblemRow) -> LastWrite:
    task = run.problem.built
    assert isinstance(task, LastWrite)
    return task


def _variables(run: ProblemRow) -> int:
    return _task(run).options.variables


def _title(runs: list[ProblemRow]) -> str:
    task = _task(runs[0])
    return f"{task.options.variables} variables of {task.options.values} values: {task.bits_to_cross:g} bits"


def _caption(runs: Runs) -> str:
    return (
        "The state needs the same number of bits at every length. Dashed: answering the value given most often, "
        f"which needs no order; grey: chance. {by_problem.making(runs)}"
    )
