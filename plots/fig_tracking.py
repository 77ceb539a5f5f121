"""Products of group elements, at the length of training and at others: what a state tracks, and what is only fitted.

The table is that of `retrieval-gap transfer` on runs of word_problem.
"""

from pathlib import Path

from matplotlib.figure import Figure

from . import by_problem
from .by_problem import ProblemRow, Runs, grouped
from .results import RESULTS

DEFAULT_TABLE = RESULTS / "tracking_demo_transfer.csv"


def read_table(path: Path) -> Runs:
    """Raises UsageError for a table that has no word problems at several lengths."""
    return by_problem.of_task(by_problem.read_tests(path), "word_problem")


def draw_figure(runs: Runs) -> Figure:
    """A panel for each group."""
    groups = grouped(runs.rows, lambda run: run.problem.option("group"))
    return by_problem.figure_of_panels(
        "Products of group elements", {_title(some): some for some in groups.values()}, by_problem.draw_tests,
        dashed="training length", caption=_caption(runs), x="elements n", height=3.0,
    )  # fmt: skip


def _title(runs: list[ProblemRow]) -> str:
    problem = runs[0].problem
    bits = "" if problem.bound is None else f", {problem.bound.bits_needed:.1f} bits"
    return f"{problem.option('group')}{bits}"


def _caption(runs: Runs) -> str:
    asked = {run.problem.option("ask") for run in runs.rows}
    how = "The product is asked for after each element; the answers are not read back. " if asked == {"each"} else ""
    return (
        f"{how}Grey: chance. A few bits are enough at every length, so memory is not the limit: what a layer can "
        f"compute in one step decides. {by_problem.making(runs)}"
    )
