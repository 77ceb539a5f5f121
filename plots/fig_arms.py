"""The paper's cells in two arms, side by side: at the paper's settings, and tuned alike for all architectures.

A row's embedding is its arm: sinusoidal and frozen at the paper's settings, learned in the tuned arm.
"""

from dataclasses import replace
from pathlib import Path

from matplotlib.figure import Figure

from retrieval_gap.machine.errors import UsageError

from . import by_size
from .caption import caption, title
from .kept import counted
from .results import RESULTS, Results, points_of, published_of, read_runs

ARMS = {"sinusoidal": "The paper's settings", "learned": "Tuned alike for all"}
MODE = "cot"
DEFAULT_TABLE = RESULTS / "istree_tuned.csv"


def read_table(path: Path) -> Results:
    """IsTree with chain of thought, the arm in place of the view.

    Raises UsageError for a table that is invalid or lacks an arm.
    """
    every = read_runs(path)
    kept = [run for run in every if run.cell.task == "istree" and run.cell.mode == MODE and run.embedding in ARMS]
    lacking = [name for name in ARMS if all(run.embedding != name for run in kept)]
    if lacking:
        raise UsageError(
            f"results table {path} has no IsTree row in {MODE} with the embedding {lacking[0]}; "
            "`retrieval-gap results --results results/istree_paper.csv results/istree_tuned.csv --csv FILE` sets both "
            "arms together, and --results FILE names that"
        )
    points = points_of(replace(run, cell=run.cell._replace(mode=ARMS[run.embedding])) for run in kept)
    left_out = counted(["other tasks, views or embeddings"] * (len(every) - len(kept)))
    return Results(path=path, points=points, published=published_of(points), left_out=left_out)


def draw_figure(results: Results) -> Figure:
    """A panel for each arm, a line for each model.  Raises UsageError if there is only one problem size."""
    if len(results.ns) < 2:
        raise UsageError(f"results table {results.path} has one problem size alone; two arms are drawn along n")
    return by_size.draw(results, f"{title(results)}, chain of thought", caption(results))
