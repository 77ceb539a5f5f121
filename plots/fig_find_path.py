"""Paths in graphs of more nodes than a model was trained on, answered in four ways.

The table is that of `retrieval-gap transfer` on runs of find_path.
"""

from pathlib import Path

from matplotlib.figure import Figure

from . import by_problem
from .by_problem import ProblemRow, Runs, grouped
from .results import RESULTS

DEFAULT_TABLE = RESULTS / "find_path_demo_transfer.csv"
_WAYS = {
    ("direct", ""): "Direct answer",
    ("cot", ""): "Chain of thought",
    ("rag", "one"): "One call",
    ("rag", "many"): "Interactive search",
}


def read_table(path: Path) -> Runs:
    """Raises UsageError for a table that has no paths in graphs of several sizes."""
    paths = by_problem.of_task(by_problem.read_tests(path), "find_path")
    return paths.only(lambda run: _way(run) in _WAYS, "run of a known view", lambda run: " ".join(_way(run)))


def draw_figure(runs: Runs) -> Figure:
    """A panel for each way to answer."""
    found = grouped(runs.rows, _way)
    return by_problem.figure_of_panels(
        "Does one node lead to another?", {title: found[way] for way, title in _WAYS.items() if way in found},
        by_problem.draw_tests, dashed="nodes trained on", caption=_caption(runs), x="nodes tested on", height=2.8,
    )  # fmt: skip


def _way(run: ProblemRow) -> tuple[str, str]:
    problem = run.problem
    return problem.mode, (problem.option("calls") or "many") if problem.mode == "rag" else ""


def _caption(runs: Runs) -> str:
    return (
        "Without searches a model must carry at least n/6 bits of the graph; with them, the names of three nodes "
        f"(docs/theory.md, section 5). Grey: chance. {by_problem.making(runs)}"
    )
