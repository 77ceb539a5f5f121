"""Graphs of other sizes than a model was trained on: accuracy by problem size, a row of panels for each family.

Only models trained with more names than nodes (`--names`, preset `transfer`) can be tested this way.
"""

from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path

from matplotlib.figure import Figure

from retrieval_gap.machine.errors import UsageError
from retrieval_gap.tables.identity import Identity

from . import by_size, style
from .caption import hardware, held_out, left_out
from .fig_transfer import DEFAULT_TABLE as DEFAULT_TABLE
from .fig_transfer import Tested, read_tests
from .probes import number_of
from .results import Cell, Point, ResultRow, Results
from .seeds import pooled


@dataclass(frozen=True, kw_only=True)
class LargerGraphs:
    """results: with the number of nodes tested as n.  The other fields are those of training."""

    results: Results
    family: str
    n: int
    options: str


def read_table(path: Path) -> LargerGraphs:
    """The tests, both classes pooled.

    Raises UsageError for a table that is invalid, has runs with different options, or has tests at only one size.
    """
    kept = read_tests(path)
    rows = kept.rows
    tests: dict[Cell, dict[Identity, list[Tested]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        cell = Cell("istree", row.tested_on, row.mode, row.tested_n, row.arch, row.size)
        tests[cell][replace(row.identity.without("answer"), where="")].append(row)
    points = {cell: Point(tuple(_run(cell, classes) for classes in runs.values())) for cell, runs in tests.items()}
    if len({cell.n for cell in points}) < 2:
        raise UsageError(
            f"results table {path} has tests at one number of nodes alone; retrieval-gap transfer --n 8,16"
        )
    if len({row.options for row in rows}) > 1:
        raise UsageError(f"results table {path} is of runs with different options")
    results = Results(path=path, points=points, published=None, left_out=kept.left_out)
    return LargerGraphs(results=results, family=rows[0].family, n=rows[0].n, options=rows[0].options)


def _run(cell: Cell, classes: list[Tested]) -> ResultRow:
    """One run on the samples of both answers.  Raises UsageError if an answer occurs twice."""
    first = classes[0]
    return ResultRow(
        cell=cell,
        seed=first.seed,
        parameters=first.parameters,
        samples=first.samples,
        hardware=first.hardware,
        **pooled(classes),
    )


def draw_figure(tests: LargerGraphs) -> Figure:
    """A row of panels for each family tested; a column for each view."""
    runs = tests.results.runs
    seeds = number_of({len(point.runs) for point in tests.results.points.values()}, "run")
    caption = (
        f"Trained on {style.family_name(tests.family)} of {tests.n} nodes ({tests.options}). Free decoding of "
        f"{held_out(runs)} per run and point, searches executed; an undecided answer counts 0.5. {seeds} per point. "
        f"Error bars: 95 % Wilson interval. Hardware: {hardware(runs)}. {left_out(tests.results.left_out)}"
    )
    ns = tests.results.ns
    title = f"IsTree: trained on graphs of {tests.n} nodes, tested on {ns[0]} to {ns[-1]}"
    return by_size.draw(tests.results, title, caption)
