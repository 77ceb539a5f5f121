"""Graphs of more nodes than a model was trained on: accuracy by problem size, a row of panels for each family.

Only models trained with names to spare (`--names`, preset `transfer`) can be tested so.
"""

from collections import defaultdict
from pathlib import Path

from matplotlib.figure import Figure

from plots import by_size
from plots.fig_transfer import DEFAULT_TABLE as DEFAULT_TABLE
from plots.fig_transfer import Tested, read_tests
from plots.probes import number_of
from plots.table import Cell, Point, Results, Run
from retrieval_gap.errors import UsageError
from retrieval_gap.intervals import wilson_interval


def read_table(path: Path) -> Results:
    """Both classes of a test together.  Raises UsageError for a table that will not do, or tells of one size alone."""
    tests: dict[tuple[Cell, int], list[Tested]] = defaultdict(list)
    for row in read_tests(path):
        tests[Cell("istree", row.tested_on, row.mode, row.tested_n, row.arch, row.size), row.n].append(row)
    points = {cell: Point((_run(cell, rows),)) for (cell, _), rows in tests.items()}
    if len({cell.n for cell in points}) < 2:
        raise UsageError(
            f"results table {path} has tests at one number of nodes alone; retrieval-gap transfer --n 8,16"
        )
    return Results(path=path, points=points, published=None)


def _run(cell: Cell, rows: list[Tested]) -> Run:
    """One run on the samples of both answers."""
    samples = sum(row.eval_samples for row in rows)
    accuracy = sum(row.accuracy * row.eval_samples for row in rows) / samples
    low, high = wilson_interval(accuracy, samples)
    return Run(
        cell=cell,
        seed=rows[0].seed,
        parameters=rows[0].parameters,
        samples=rows[0].samples,
        accuracy=accuracy,
        low=low,
        high=high,
        eval_samples=samples,
        hardware=rows[0].hardware,
    )


def draw_figure(results: Results) -> Figure:
    """A row of panels for each family tested; a column for each view."""
    tested = number_of({run.eval_samples for run in results.runs}, "held-out sample")
    caption = (
        f"Trained on two-star graphs of {results.ns[0]} nodes with names for {results.ns[-1]}; "
        f"free decoding of {tested} a point, every search executed; undecided counted 0.5. "
        "One run a line. Error bars: 95 % Wilson interval. "
        f"Hardware: {results.runs[0].hardware}."
    )
    return by_size.draw(results, f"IsTree: larger graphs than the {results.ns[0]} nodes of training", caption)
