"""Who can do what: tasks by models at their largest n, and whether theory forbids it or it was not learned.

Each cell has the accuracy, the bits of the state, and the bits that a reader needs.
"""

from pathlib import Path
from textwrap import shorten

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from . import by_problem, style
from .by_problem import LEARNED, AskedProblem, ProblemMean, ProblemRow, Runs, grouped, models_of
from .page import WIDTH, page
from .results import RESULTS

DEFAULT_TABLE = RESULTS / "card_demo.csv"
_VERDICTS = {
    "right": ("#8ec4e8", f"right: {LEARNED:g} or more"),
    "learn": ("#f2c879", "did not learn: it has bits enough, or reads again"),
    "cannot": ("#cf6a32", "cannot: fewer bits than any reader needs"),
    "open": ("#d9d9d9", "the theory says nothing, and it was not learned"),
}
_ROW = 0.5  # inches
_HEADING, _CHARACTER = 7.5, 0.066  # points of a column's heading, and inches of one of its characters
_BITS = 12  # characters of the bits in a cell
_NAMES = 0.4  # width of the column of names, as a share of all others


def read_table(path: Path) -> Runs:
    """Each model at its largest n of each problem, on test samples if it has any.

    Raises UsageError for an invalid table.
    """
    runs = by_problem.read_runs(path)
    largest = {key: max(run.problem.n for run in some) for key, some in grouped(runs.rows, _cell_of).items()}
    runs = runs.only(lambda run: run.problem.n == largest[_cell_of(run)], "run", lambda run: "a smaller n")
    tested = {_cell_of(run) for run in runs.rows if not _on_validation(run)}
    runs = runs.only(
        lambda run: not _on_validation(run) or _cell_of(run) not in tested,
        "run",
        lambda run: "validation samples (test samples are at hand)",
    )
    best = {id(run) for some in grouped(runs.rows, _cell_of).values() for run in _best(some).runs}
    return runs.only(lambda run: id(run) in best, "run", lambda run: "a training less accurate than another")


def draw_figure(runs: Runs) -> Figure:
    """A row for each task, family, options and view; a column for each model, at its largest n in the table."""
    rows, models = grouped(runs.rows, _row), models_of(runs.rows)
    names, turned, head = _headings(models)
    legend = [Patch(color=colour, label=told) for colour, told in _VERDICTS.values()]
    figure = page("Who can do what", [legend[:2], legend[2:]], _caption(runs), head + _ROW * len(rows))
    axes, small = figure.subplots(), min(6.5, 72 * _width(models) / (_BITS * 0.58))
    left = -_NAMES * len(models)
    axes.set(xlim=(left, len(models)), ylim=(len(rows), -head / _ROW))
    axes.set_axis_off()
    for place, name in enumerate(names):
        axes.text(place + 0.5, -0.15, name, ha="center", va="bottom", fontsize=_HEADING, rotation=turned)
    for line, some in enumerate(rows.values()):
        n = max(run.problem.n for run in some)
        axes.text(left, line + 0.5, _name(some[0].problem, n), va="center", fontsize=8, linespacing=1.3)
        for model, same in grouped(some, lambda run: run.model).items():
            _cell(axes, models.index(model), line, ProblemMean(tuple(same)), n, small)
    return figure


def _width(models: list[tuple[str, str]]) -> float:
    """Inches of a column."""
    return (WIDTH - 0.3) / ((1 + _NAMES) * len(models))


def _headings(models: list[tuple[str, str]]) -> tuple[list[str], float, float]:
    """The headings of the columns: words, rotation (degrees) and height (inches).  One word per line, or rotated if a
    word is wider than its column."""
    words = [by_problem.label(model, models).split(" ") for model in models]
    width = _width(models)
    if max(len(word) for name in words for word in name) * _CHARACTER < width:
        return ["\n".join(name) for name in words], 0, 0.15 + 0.125 * max(map(len, words))
    names = [" ".join(name) for name in words]
    return names, 90, 0.15 + _CHARACTER * max(map(len, names))


def _row(run: ProblemRow) -> tuple[str, str, str, str]:
    problem = run.problem
    return problem.task, problem.family, problem.options, problem.mode


def _cell_of(run: ProblemRow) -> tuple[tuple[str, str, str, str], tuple[str, str]]:
    return _row(run), run.model


def _on_validation(run: ProblemRow) -> bool:
    """Whether a learning rate may have been chosen on the samples of a run's test."""
    return dict(run.identity.settings).get("eval_split") == "validation"


def _best(runs: list[ProblemRow]) -> ProblemMean:
    """Of several trainings of a model the one with the highest accuracy."""
    means = [ProblemMean(tuple(some)) for some in grouped(runs, lambda run: run.identity.settings).values()]
    return max(means, key=lambda mean: mean.accuracy)


def verdict(mean: ProblemMean) -> str:
    """What can be said about a model on a problem (docs/theory.md, section 11)."""
    run = mean.runs[0]
    if mean.accuracy >= LEARNED:
        return "right"
    if run.problem.mode == "rag" or not run.state_is_fixed:
        return "learn"
    if run.problem.bound is None or run.state_bits is None:
        return "open"
    return "cannot" if run.state_bits < run.problem.bound.bits_needed else "learn"


def _cell(axes: Axes, column: int, line: int, mean: ProblemMean, n: int, small: float) -> None:
    """n: the row's; a cell with another n names it.  small: font size of the bits, in points."""
    colour, run = _VERDICTS[verdict(mean)][0], mean.runs[0]
    axes.add_patch(Rectangle((column + 0.03, line + 0.05), 0.94, 0.9, color=colour, linewidth=0))
    lines = [_bits(run)] if run.problem.n == n else [f"n = {run.problem.n}", _bits(run)]
    slant = "italic" if _on_validation(run) else "normal"
    x, y = column + 0.5, line + 0.5 - 0.08 * (len(lines) - 1)
    axes.text(x, y - 0.02, f"{mean.accuracy:.2f}", ha="center", va="bottom", fontsize=10, style=slant)
    axes.text(x, y + 0.04, "\n".join(lines), ha="center", va="top", fontsize=small, linespacing=1.1)


def _bits(run: ProblemRow) -> str:
    """Bits of the state, and bits needed; a state that grows, or a text that is read again, is named instead."""
    needs = "" if run.problem.bound is None else f" / {_short(run.problem.bound.bits_needed)}"
    if run.problem.mode == "rag":
        return "searches"
    if not run.state_is_fixed:
        return f"cache{needs}"
    return f"{'?' if run.state_bits is None else _short(run.state_bits)}{needs}"


def _short(bits: float) -> str:
    return f"{bits / 1000:.0f}k" if bits >= 10_000 else f"{bits / 1000:.1f}k" if bits >= 1_000 else f"{bits:.3g}"


def _name(problem: AskedProblem, n: int) -> str:
    view = "" if problem.mode == "direct" else f", {style.VIEWS.get(problem.mode, problem.mode).lower()}"
    options = f"\n{shorten(problem.options, 42, placeholder=' ...')}" if problem.options else ""
    return f"{style.name_of_task(problem.task)}, n = {n}{view}{options}"


def _caption(runs: Runs) -> str:
    validated = [run for run in runs.rows if _on_validation(run)]
    split = (
        ""
        if not validated
        else "Validation samples; learning rates may have been chosen on them. "
        if len(validated) == len(runs.rows)
        else "Italic: validation samples; learning rates may have been chosen on them. "
    )
    return (
        f"{split}Small print: bits of state / bits needed to be always right (docs/theory.md); a cache grows with the "
        "text. The best of several trainings of a model is shown; a model without the row's n is shown at its largest "
        "n, named in the cell. " + by_problem.making(runs, bars=False)
    )
