"""Who can do what: tasks by models at their largest size, and whether theory forbids it or it was not learned.

Each cell: the accuracy, and the bits that the state has and a reader needs.
"""

from pathlib import Path
from textwrap import shorten

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from . import by_problem, style
from .by_problem import LEARNED, AskedProblem, ProblemMean, ProblemRow, Runs, grouped, models_of
from .page import page
from .results import RESULTS

DEFAULT_TABLE = RESULTS / "card_demo.csv"
_VERDICTS = {
    "right": ("#8ec4e8", f"right: {LEARNED:g} or more"),
    "learn": ("#f2c879", "did not learn: it has bits enough, or reads again"),
    "cannot": ("#cf6a32", "cannot: fewer bits than any reader needs"),
    "open": ("#d9d9d9", "the theory says nothing, and it was not learned"),
}
_ROW, _HEAD = 0.5, 0.35  # inches
_NAMES = 0.4  # the column of names, in widths of all others


def read_table(path: Path) -> Runs:
    """The rows of the largest n of each problem.  Raises UsageError for a table that will not do."""
    runs = by_problem.read_runs(path)
    largest = {row: max(run.problem.n for run in some) for row, some in grouped(runs.rows, _row).items()}
    return runs.only(lambda run: run.problem.n == largest[_row(run)], "run", lambda run: "a smaller n")


def draw_figure(runs: Runs) -> Figure:
    """A row for each task, family, options and view, at the largest n in the table; a column for each model."""
    rows, models = grouped(runs.rows, _row), models_of(runs.rows)
    legend = [Patch(color=colour, label=told) for colour, told in _VERDICTS.values()]
    height = _HEAD + _ROW * len(rows)
    figure = page("Who can do what", [legend[:2], legend[2:]], _caption(runs), height)
    axes = figure.subplots()
    left = -_NAMES * len(models)
    axes.set(xlim=(left, len(models)), ylim=(len(rows), -_HEAD / _ROW))
    axes.set_axis_off()
    for place, model in enumerate(models):
        name = by_problem.label(model, models).replace(" ", "\n")
        axes.text(place + 0.5, -0.15, name, ha="center", va="bottom", fontsize=7.5)
    for line, some in enumerate(rows.values()):
        axes.text(left, line + 0.5, _name(some[0].problem), va="center", fontsize=8, linespacing=1.3)
        for model, same in grouped(some, lambda run: run.model).items():
            _cell(axes, models.index(model), line, _best(same))
    return figure


def _row(run: ProblemRow) -> tuple[str, str, str, str]:
    problem = run.problem
    return problem.task, problem.family, problem.options, problem.mode


def _best(runs: list[ProblemRow]) -> ProblemMean:
    """Of several trainings of a model the one with the highest accuracy."""
    means = [ProblemMean(tuple(some)) for some in grouped(runs, lambda run: run.identity.settings).values()]
    return max(means, key=lambda mean: mean.accuracy)


def verdict(mean: ProblemMean) -> str:
    """What may be said of a model on a problem (docs/theory.md, section 11)."""
    run = mean.runs[0]
    if mean.accuracy >= LEARNED:
        return "right"
    if run.problem.mode == "rag" or not run.state_is_fixed:
        return "learn"
    if run.problem.bound is None or run.state_bits is None:
        return "open"
    return "cannot" if run.state_bits < run.problem.bound.bits_needed else "learn"


def _cell(axes: Axes, column: int, line: int, mean: ProblemMean) -> None:
    colour = _VERDICTS[verdict(mean)][0]
    axes.add_patch(Rectangle((column + 0.03, line + 0.05), 0.94, 0.9, color=colour, linewidth=0))
    axes.text(column + 0.5, line + 0.36, f"{mean.accuracy:.2f}", ha="center", va="center", fontsize=10)
    axes.text(column + 0.5, line + 0.74, _bits(mean.runs[0]), ha="center", va="center", fontsize=6.5)


def _bits(run: ProblemRow) -> str:
    """Bits it has, and bits needed; a state that grows, or a text that is read again, is named instead."""
    needs = "" if run.problem.bound is None else f" / {_short(run.problem.bound.bits_needed)}"
    if run.problem.mode == "rag":
        return "searches"
    if not run.state_is_fixed:
        return f"cache{needs}"
    return f"{'?' if run.state_bits is None else _short(run.state_bits)}{needs}"


def _short(bits: float) -> str:
    return f"{bits / 1000:.0f}k" if bits >= 10_000 else f"{bits / 1000:.1f}k" if bits >= 1_000 else f"{bits:.3g}"


def _name(problem: AskedProblem) -> str:
    view = "" if problem.mode == "direct" else f", {style.VIEWS.get(problem.mode, problem.mode).lower()}"
    options = f"\n{shorten(problem.options, 42, placeholder=' ...')}" if problem.options else ""
    return f"{style.name_of_task(problem.task)}, n = {problem.n}{view}{options}"


def _caption(runs: Runs) -> str:
    return (
        "Small: bits that the state has / bits that a reader needs who is always right (docs/theory.md); a cache grows "
        "with the text. Of several trainings of a model the best. " + by_problem.making(runs, bars=False)
    )
