"""Accuracy over problem size: a line for each model.

Up to `MOST_LINES` models share a panel, distinguished by colour (architecture) and mark (model size, or the
architecture if a panel has one size).  With more models, each model size has a row of its own.
"""

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from . import style
from .page import PanelRow, page, panels, rows_of
from .results import Cell, Model, Results

MOST_LINES = 6
_ONE_ROW, _MORE_ROWS = 2.9, 2.1  # inches of a row


def draw(results: Results, title: str, caption: str) -> Figure:
    """For two or more problem sizes."""
    rows = rows_of(results, most_models=MOST_LINES)
    height = _ONE_ROW if len(rows) == 1 else _MORE_ROWS * len(rows)
    figure = page(title, _legend(results, rows[0]), caption, height)
    most = max(len(row.models) for row in rows)
    step = style.step_of(results.ns, most)
    for row, mode, axes in panels(figure, rows, results.modes, x="nodes n", y="accuracy"):
        _axes(axes, results, margin=step * (most / 2 + 1))
        for index, model in enumerate(row.models):
            _line(axes, results, row, mode, model, step, step * (index - (len(row.models) - 1) / 2))
    return figure


def _axes(axes: Axes, results: Results, margin: float) -> None:
    """margin: octaves beside the smallest and the largest n."""
    style.doublings(axes, results.ns)
    axes.set_xlim(results.ns[0] / 2**margin, results.ns[-1] * 2**margin)
    axes.set_ylim(style.lowest(results), 1.03)
    axes.grid(axis="y")
    style.chance_line(axes)


def _line(axes: Axes, results: Results, row: PanelRow, mode: str, model: Model, step: float, shift: float) -> None:
    """One model's points, moved sideways by `shift` octaves so that they hide no other model's."""
    every = [Cell("istree", row.family, mode, n, *model) for n in results.ns]
    cells = [cell for cell in every if cell in results.points]
    if not cells:
        return
    points = [results.points[cell] for cell in cells]
    xs = [cell.n * 2**shift for cell in cells]
    colour, marker = style.colours(results.architectures)[model.arch], _markers(results, row)[model]
    ys = [point.accuracy for point in points]
    axes.errorbar(xs, ys, yerr=style.interval(points), ecolor=colour, elinewidth=1.0, fmt="none")
    axes.plot(
        xs,
        ys,
        **style.filled_marker(marker, colour),
        linestyle=style.dashes(row.sizes)[model.size],
        linewidth=1.2,
        label=f"{style.name_of(model.arch)} {style.size_name(model.size)}",
    )
    for x, point in zip(xs, points, strict=True):
        style.seed_dots(axes, [(x * 2 ** (0.4 * step), share) for share in point.seed_accuracies])
    theirs = [(x, results.published_of(cell)) for x, cell in zip(xs, cells, strict=True)]
    style.published_dots(axes, [(x, share) for x, share in theirs if share is not None], marker, colour)


def _markers(results: Results, row: PanelRow) -> dict[Model, str]:
    """The mark of the model size; with one size, of the architecture."""
    of_size, of_arch = style.markers(row.sizes), style.architecture_markers(results.architectures)
    return {model: of_size[model.size] if len(row.sizes) > 1 else of_arch[model.arch] for model in row.models}


def _legend(results: Results, row: PanelRow) -> list[list[Line2D]]:
    """Colours are architectures; marks and dashes are the model sizes that share a panel."""
    colours, of_arch = style.colours(results.architectures), style.architecture_markers(results.architectures)
    looks: dict[str, dict[str, Any]] = {
        arch: {"color": colour, "linewidth": 3} if len(row.sizes) > 1 else style.filled_marker(of_arch[arch], colour)
        for arch, colour in colours.items()
    }
    architectures = [Line2D([], [], label=style.name_of(arch), **looks[arch]) for arch in results.architectures]
    markers, dashes = style.markers(row.sizes), style.dashes(row.sizes)
    marks = [
        Line2D([], [], **style.filled_marker(markers[size], style.GREY), linestyle=dashes[size], label=name)
        for size, name in zip(row.sizes, map(style.size_name, row.sizes), strict=True)
    ]
    common = [style.chance_key(), *style.other_keys(results)]
    return [architectures, [*marks, *common]] if len(marks) > 1 else [[*architectures, *common]]
