"""The learning rates at which each architecture learns a task: accuracy against rate, and the window below it, if any
rate learns it.

The table is that of `retrieval-gap sweep ... --choose lr`: rates are compared on validation, the window has the rates
that keep 95 % of the best accuracy, and the seeds counted as converged are fresh ones at the best rate, on test.
"""

import math
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import fmean

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullLocator

from . import by_problem, style
from .by_problem import AskedProblem, ProblemMean, ProblemRow, Runs, grouped, looks, models_of
from .kept import number_of
from .page import WIDTH, fitted, page
from .results import RESULTS

DEFAULT_TABLE = RESULTS / "lr_window_demo.csv"
_COLUMNS = ("tried_lr", "window_low", "window_high", "window_decades", "converged", "chosen")
LEARNED = 0.9  # `rates.CONVERGED`, of the mean at the best rate
_LINES, _BAR = 2.5, 0.24  # inches: of a panel of lines, and of one bar
_GROUP = 0.1  # width of a rate's models, as a share of the distance to the next rate
_WORDS = 2.0  # inches, right of the bars


def read_table(path: Path) -> Runs:
    """Raises UsageError for a table that is not of `--choose lr`."""
    return by_problem.read_runs(path, _COLUMNS)


def draw_figure(runs: Runs) -> Figure:
    """A column for each problem."""
    columns, models = grouped(runs.rows, lambda run: run.problem), models_of(runs.rows)
    bars = 0.5 + _BAR * len(models)
    legend = [[*by_problem.keys(models), *_other_keys(runs)]]
    figure = page("Accuracy against learning rate", legend, _caption(runs), _LINES + bars)
    grid = figure.subplots(
        2, len(columns), squeeze=False, sharex=True, sharey="row", gridspec_kw={"height_ratios": [_LINES, bars]}
    )
    titles = _titles(list(columns))
    for (problem, some), title, top, bottom in zip(columns.items(), titles, grid[0], grid[1], strict=True):
        top.set_title(fitted(title, len(columns), 9.5), fontsize=9.5)
        _lines(top, problem, some, models)
        _windows(bottom, some, models)
        _rates_axis(bottom, some, len(columns))
    grid[0][0].set_ylabel("validation accuracy")
    return figure


def _titles(problems: list[AskedProblem]) -> list[str]:
    """Task and n, with those of family, view and options that differ between problems."""
    parts = [(problem.family, style.VIEWS.get(problem.mode, problem.mode), problem.options) for problem in problems]
    differ = [len(set(values)) > 1 for values in zip(*parts, strict=True)]
    shown = [", ".join(part for part, apart in zip(some, differ, strict=True) if part and apart) for some in parts]
    return [
        f"{style.name_of_task(problem.task)}, n = {problem.n}" + (f"\n{words}" if words else "")
        for problem, words in zip(problems, shown, strict=True)
    ]


def _lines(axes: Axes, problem: AskedProblem, runs: list[ProblemRow], models: list[tuple[str, str]]) -> None:
    """Models are side by side at each rate, so that none hides another."""
    tried = grouped(_of(runs, chosen=False), lambda run: run.model)
    rates = sorted({run.lr for some in tried.values() for run in some})
    closest = min((math.log(after / before) for before, after in pairwise(rates)), default=0.0)
    for place, model in enumerate(models):
        shift = math.exp(style.dodged(place, len(models), _GROUP * closest))
        by_problem.draw_line(axes, tried.get(model, []), partial(_moved_rate, shift), *looks(models)[model])
    axes.set_xscale("log")
    axes.set_ylim(-0.03, 1.04)
    axes.grid(axis="y")
    axes.axhline(problem.built.guess, label="chance", **by_problem.GREYED)


def _moved_rate(factor: float, run: ProblemRow) -> float:
    return factor * run.lr


def _windows(axes: Axes, runs: list[ProblemRow], models: list[tuple[str, str]]) -> None:
    """A bar from the lowest to the highest rate of the window; right of it its width, and the share of fresh seeds."""
    chosen = grouped(_of(runs, chosen=True), lambda run: run.model)
    for place, model in enumerate(models):
        if model not in chosen:
            continue
        fresh, colour = ProblemMean(tuple(chosen[model])).runs, looks(models)[model][0]
        width = "no window"
        if _learned([run for run in runs if run.told("chosen") == "0" and run.model == model]):
            low, high = float(fresh[0].told("window_low")), float(fresh[0].told("window_high"))
            axes.plot([low, high], [place, place], color=colour, linewidth=5, solid_capstyle="butt", alpha=0.6)
            width = _width(fresh[0], low, high)
        axes.plot([run.lr for run in fresh], [place] * len(fresh), "|", color=style.INK, markersize=9)
        share = sum(run.told("converged") == "1" for run in fresh) / len(fresh)
        axes.annotate(
            f"{width}, {share:.0%} converged",
            (1.0, place),
            xycoords=("axes fraction", "data"),
            xytext=(-2, 0),
            textcoords="offset points",
            ha="right",
            va="center",
            fontsize=7,
            color=style.GREY,
        )
    axes.set_yticks(range(len(models)), [by_problem.label(model, models) for model in models], fontsize=8)
    axes.set_ylim(len(models) - 0.5, -0.5)


def _rates_axis(axes: Axes, runs: list[ProblemRow], columns: int) -> None:
    """Leaves room right of the rates for the words of the bars."""
    axes.set_xlabel("learning rate")
    rates = sorted({run.lr for run in runs})
    lowest, highest = rates[0], rates[-1]
    axes.xaxis.set_major_locator(FixedLocator(rates))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(lambda rate, _: f"{rate:g}")
    words = min(0.7, _WORDS * columns / (WIDTH - 1.2))
    axes.set_xlim(lowest / 1.5, highest * (1.5 * highest / lowest) ** (words / (1 - words)))


def _of(runs: Iterable[ProblemRow], *, chosen: bool) -> list[ProblemRow]:
    """The rows of the rates that were tried, or those of fresh seeds at the rate chosen."""
    return [run for run in runs if run.told("chosen") == str(int(chosen))]


def _other_keys(runs: Runs) -> list[Line2D]:
    return [style.seed_key()] if max(_seeds(runs.rows, chosen=False), default=1) > 1 else []


def _seeds(runs: Iterable[ProblemRow], *, chosen: bool) -> set[int]:
    """The numbers of seeds that points have."""
    points = grouped(_of(runs, chosen=chosen), lambda run: (run.problem, run.model, run.lr))
    return {len(point) for point in points.values()}


def _learned(tried: list[ProblemRow]) -> bool:
    """Whether the best rate's mean shows that the task was learned: tables from before 2026-11-29 have a window at
    chance, too."""
    by_rate = grouped(tried, lambda run: run.lr)
    return max((fmean(run.accuracy for run in runs) for runs in by_rate.values()), default=0.0) >= LEARNED


def _width(run: ProblemRow, low: float, high: float) -> str:
    tried = [float(rate) for rate in run.told("tried_lr").split()]
    # `tried_lr` has six digits
    is_open = math.isclose(low, min(tried), rel_tol=1e-5) or math.isclose(high, max(tried), rel_tol=1e-5)
    or_more = "\N{GREATER-THAN OR EQUAL TO} " if is_open else ""
    return f"{or_more}{float(run.told('window_decades')):.2f} decades"


def _caption(runs: Runs) -> str:
    tried = replace(runs, rows=tuple(_of(runs.rows, chosen=False)) or runs.rows)
    fresh = number_of(_seeds(runs.rows, chosen=True) or {0}, "fresh seed")
    return (
        "Models at one rate are moved apart by a little. Bars: rates with at least 95 % of the best validation "
        "accuracy, up to the next rates tried; stroke: the chosen rate; \N{GREATER-THAN OR EQUAL TO}: the bar ends "
        "with the rates tried; no window: no rate reaches 0.9. Converged: the share of "
        f"{fresh} at that rate that reach 0.9 on the test split. Grey: chance. {by_problem.making(tried)}"
    )
