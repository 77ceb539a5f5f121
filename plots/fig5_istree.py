"""Answering IsTree directly, without chain of thought: every model's accuracy as bars over n.

After the second IsTree figure of "RNNs are not Transformers (Yet)", Wen, Dang, Lyu (ICLR 2025).
"""

from statistics import fmean

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from . import style
from .caption import caption, title
from .page import page, panels, rows_of
from .results import Cell, Results

_PANEL_HEIGHT = 2.6  # inches
_GROUP, _WIDEST = 0.84, 0.5  # shares of a model's place: all its bars, and the widest bar
_MOST_VALUES = 16  # bars with their value on top


def draw_figure(results: Results) -> Figure:
    """A group of bars for each model, a bar for each n.  Raises UsageError without direct IsTree rows."""
    direct = results.only(task="istree", mode="direct")
    rows = rows_of(direct)
    keys = [*_size_keys(direct), style.chance_key(), *style.other_keys(direct)]
    figure = page(title(direct), [keys], caption(direct), _PANEL_HEIGHT * len(rows))
    for row, _, axes in panels(figure, rows, ["direct"], x="", y="accuracy"):
        _axes(axes, direct)
        for place, model in enumerate(direct.models):
            for index, n in enumerate(direct.ns):
                cell = Cell("istree", row.family, "direct", n, *model)
                if cell in direct.points:
                    _bar(axes, direct, cell, place + _width(direct) * (index - (len(direct.ns) - 1) / 2))
        if row is rows[-1]:
            _name_architectures(axes, direct)
    return figure


def _axes(axes: Axes, results: Results) -> None:
    axes.set_xlim(-0.6, len(results.models) - 0.4)
    axes.set_ylim(0, 1)
    axes.grid(axis="y")
    style.chance_line(axes)
    several = len(results.sizes) > 1
    names = [style.size_name(m.size) if several else style.name_of(m.arch) for m in results.models]
    axes.set_xticks(range(len(names)), names)
    axes.tick_params(axis="x", length=0)


def _name_architectures(axes: Axes, results: Results) -> None:
    """Write them below the sizes; with one size the ticks have the names already."""
    for arch in results.architectures if len(results.sizes) > 1 else ():
        middle = fmean(place for place, model in enumerate(results.models) if model.arch == arch)
        below = axes.get_xaxis_transform()
        axes.text(middle, -0.13, style.name_of(arch), transform=below, ha="center", va="top")


def _bar(axes: Axes, results: Results, cell: Cell, x: float) -> None:
    point = results.points[cell]
    colour = style.tint(style.colours(results.architectures)[cell.arch], _shade(results, cell.n))
    width = _width(results)
    label = f"{style.label_of(cell.model, results.sizes)}, n = {cell.n}"
    axes.bar(x, point.accuracy, width=0.92 * width, color=colour, label=label)
    axes.errorbar(x, point.accuracy, yerr=style.interval([point]), ecolor=style.INK, elinewidth=0.9, fmt="none")
    style.seed_dots(axes, [(x + 0.2 * width, share) for share in point.seed_accuracies])
    theirs = results.published_of(cell)
    if theirs is not None:
        style.published_dots(axes, [(x, theirs)], "o", style.INK)
    if len(results.points) <= _MOST_VALUES:
        axes.text(x, point.high + 0.03, f"{point.accuracy:.3f}", ha="center")


def _width(results: Results) -> float:
    return min(_GROUP / len(results.ns), _WIDEST)


def _shade(results: Results, n: int) -> float:
    """The larger the problem, the fuller the colour."""
    return 0.3 + 0.6 * (results.ns.index(n) + 1) / len(results.ns)


def _size_keys(results: Results) -> list[Patch]:
    """Legend entries for n; with a single n, the title has it."""
    if len(results.ns) == 1:
        return []
    return [Patch(color=style.tint(style.INK, _shade(results, n)), label=f"n = {n}") for n in results.ns]
