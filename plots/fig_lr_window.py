"""The learning rates at which each architecture learns a task: accuracy against rate, and the window below it.

The table is that of `retrieval-gap sweep ... --choose lr`: rates are compared on validation, the window is that of
rates that keep 95 % of the best accuracy, and the seeds counted as converged are fresh ones at the best rate,
on test.
"""

import math
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from . import by_problem, style
from .by_problem import AskedProblem, ProblemMean, ProblemRow, Runs, grouped, looks, models_of
from .page import page
from .results import RESULTS

DEFAULT_TABLE = RESULTS / "lr_window_demo.csv"
_COLUMNS = ("tried_lr", "window_low", "window_high", "window_decades", "converged", "chosen")
_LINES, _BAR = 2.5, 0.24  # inches: of a panel of lines, and of one bar
_ROOM = 0.55  # of the rates' range, for the words behind the bars


def read_table(path: Path) -> Runs:
    """Raises UsageError for a table that is not of `--choose lr`."""
    return by_problem.read_runs(path, _COLUMNS)


def draw_figure(runs: Runs) -> Figure:
    """A column for each problem."""
    columns, models = grouped(runs.rows, lambda run: run.problem), models_of(runs.rows)
    bars = 0.5 + _BAR * len(models)
    figure = page("Accuracy against learning rate", [by_problem.keys(models)], _caption(runs), _LINES + bars)
    grid = figure.subplots(
        2, len(columns), squeeze=False, sharex=True, sharey="row", gridspec_kw={"height_ratios": [_LINES, bars]}
    )
    for (problem, some), top, bottom in zip(columns.items(), grid[0], grid[1], strict=True):
        _lines(top, problem, some, models)
        _windows(bottom, some, models)
    grid[0][0].set_ylabel("validation accuracy")
    return figure


def _lines(axes: Axes, problem: AskedProblem, runs: list[ProblemRow], models: list[tuple[str, str]]) -> None:
    tried = grouped([run for run in runs if run.told("chosen") == "0"], lambda run: run.model)
    for model, some in tried.items():
        by_problem.draw_line(axes, some, lambda run: run.lr, *looks(models)[model])
    axes.set_title(f"{style.name_of_task(problem.task)}, n = {problem.n}", fontsize=9.5)
    axes.set_xscale("log")
    axes.set_ylim(-0.03, 1.04)
    axes.grid(axis="y")
    axes.axhline(problem.built.guess, label="chance", **by_problem.GREYED)


def _windows(axes: Axes, runs: list[ProblemRow], models: list[tuple[str, str]]) -> None:
    """A bar from the lowest to the highest rate of the window; behind it its width, and the share of fresh seeds."""
    chosen = grouped([run for run in runs if run.told("chosen") == "1"], lambda run: run.model)
    for place, model in enumerate(models):
        if model not in chosen:
            continue
        fresh, colour = ProblemMean(tuple(chosen[model])).runs, looks(models)[model][0]
        first = fresh[0]
        low, high = float(first.told("window_low")), float(first.told("window_high"))
        axes.plot([low, high], [place, place], color=colour, linewidth=5, solid_capstyle="butt", alpha=0.6)
        axes.plot([run.lr for run in fresh], [place] * len(fresh), "|", color=style.INK, markersize=9)
        share = sum(run.told("converged") == "1" for run in fresh) / len(fresh)
        tried = [float(rate) for rate in first.told("tried_lr").split()]
        # `tried_lr` has six digits
        is_open = math.isclose(low, min(tried), rel_tol=1e-5) or math.isclose(high, max(tried), rel_tol=1e-5)
        or_more = "\N{GREATER-THAN OR EQUAL TO} " if is_open else ""
        told = f"{or_more}{float(first.told('window_decades')):.2f} decades, {share:.0%} converged"
        axes.annotate(
            told,
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
    axes.set_xlabel("learning rate")
    lowest, highest = min(run.lr for run in runs), max(run.lr for run in runs)
    axes.set_xlim(lowest / 1.5, highest * (highest / lowest) ** _ROOM)


def _caption(runs: Runs) -> str:
    return (
        "Bars: rates that keep 95 % of the best validation accuracy, between neighbours that were tried; the stroke is "
        "the rate chosen; \N{GREATER-THAN OR EQUAL TO}: a bar ends where the rates do. Converged: the share of fresh "
        "seeds at that rate that reach 0.9 on the test split. Grey: a guess. " + by_problem.making(runs)
    )
