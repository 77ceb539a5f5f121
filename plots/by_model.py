"""Accuracy at one problem size: a list of models, each with a bar in every view."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from . import style
from .page import page, panels, rows_of
from .results import Cell, Model, Results

_LINE, _REST = 0.42, 0.75  # inches: a model, and the rest of a panel
_BAR, _SEEDS = 0.34, 0.27  # shares of a model's line: the bar's height, and the distance of the seeds below it


def draw(results: Results, title: str, caption: str) -> Figure:
    """For one problem size.  A bar starts at chance, so that its length is what the model has learned."""
    rows = rows_of(results)
    height = (_LINE * len(results.models) + _REST) * len(rows)
    figure = page(title, [style.other_keys(results)], caption, height)
    for row, mode, axes in panels(figure, rows, results.modes, x="accuracy (dashed: chance)", y=""):
        _axes(axes, results)
        for place, model in enumerate(results.models):
            cell = Cell("istree", row.family, mode, results.ns[0], *model)
            if cell in results.points:
                _bar(axes, results, cell, place)
    return figure


def _axes(axes: Axes, results: Results) -> None:
    axes.set_xlim(style.lowest(results), 1.02)
    axes.set_ylim(len(results.models) - 0.4, -0.6)
    axes.set_yticks(range(len(results.models)), [_name(results, model) for model in results.models])
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")
    style.chance_line(axes, vertical=True)


def _bar(axes: Axes, results: Results, cell: Cell, place: int) -> None:
    """A bar from chance to the mean, its interval, and its value in the margin."""
    point = results.points[cell]
    colour = style.colours(results.architectures)[cell.arch]
    learned = point.accuracy - style.CHANCE
    axes.barh(place, learned, left=style.CHANCE, height=_BAR, color=style.tint(colour, 0.45))
    axes.errorbar(
        point.accuracy,
        place,
        xerr=style.interval([point]),
        **style.filled_marker("o", colour),
        elinewidth=1.4,
        label=style.label_of(cell.model, results.sizes),
    )
    axes.text(1.05, place, f"{point.accuracy:.3f}", transform=axes.get_yaxis_transform(), va="center")
    style.seed_dots(axes, [(share, place + _SEEDS) for share in point.seed_accuracies])
    theirs = results.published_of(cell)
    if theirs is not None:
        style.published_dots(axes, [(theirs, place)], "o", colour)


def _name(results: Results, model: Model) -> str:
    """The model and its number of parameters, rounded: the vocabularies of views differ by a few tokens."""
    numbers = [run.parameters for run in results.runs if run.cell.model == model]
    ends = dict.fromkeys([_rounded(min(numbers)), _rounded(max(numbers))])
    return f"{style.label_of(model, results.sizes)}\n{'–'.join(ends)} parameters"


def _rounded(number: int) -> str:
    """93,120 as `93k`, 1,050,000 as `1.05M`."""
    if number >= 1_000_000:
        return f"{number / 1e6:.2f}".rstrip("0").rstrip(".") + "M"
    return f"{number / 1e3:.0f}k" if number >= 1_000 else str(number)
