"""How a figure is laid out: title, legend, rows of panels, caption.

Figures are 9 inches wide, so that a font of p points is about 1.4 p pixels high in a page 900 pixels wide.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import wrap

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from .results import Model, Results
from .style import GREY, VIEWS, family_name, size_name

WIDTH = 9.0
# inches: the title's band, a line of the legend, a line of the caption
_TITLE, _LEGEND_LINE, _CAPTION_LINE = 0.34, 0.22, 0.165
_CAPTION_SIZE, _CAPTION_CHARACTERS = 7.5, 158
_LINE_CHARACTERS = 100  # of the labels below a line of panels
_LEGEND_CHARACTERS, _KEY_CHARACTERS = 122, 7  # of a line, and what a key takes besides its words
_CHARACTER = 0.57  # width of a character as a share of the font's size, a little more than the mean
PANEL_TITLE = 10.5  # points
_LEFT = 0.012  # of the width


@dataclass(frozen=True)
class PanelRow:
    """A row of panels, one for each view; its name is "" if the figure has one row."""

    name: str
    family: str
    models: list[Model]

    @property
    def sizes(self) -> list[str]:
        return list(dict.fromkeys(model.size for model in self.models))


def rows_of(results: Results, *, most_models: int | None = None) -> list[PanelRow]:
    """A row for each graph family; also for each model size, if a row would have too many models."""
    apart = most_models is not None and len(results.models) > most_models and len(results.sizes) > 1
    groups = [
        (f"{size_name(size)} models", [model for model in results.models if model.size == size])
        for size in results.sizes
    ]
    families = [("" if len(results.families) == 1 else family_name(family), family) for family in results.families]
    return [
        PanelRow("\n".join(filter(None, [named, name])), family, models)
        for named, family in families
        for name, models in (groups if apart else [("", results.models)])
    ]


def page(title: str, legend: Sequence[Sequence[Artist]], caption: str, panels_height: float) -> Figure:
    """A figure with its title, its legend and its caption; the space between is for panels.

    legend: groups of keys, each in as many lines as it needs.  panels_height: inches.
    """
    legend = [line for keys in legend for line in _legend_lines(keys)]
    lines = [line for paragraph in caption.split("\n") for line in wrap(paragraph, _CAPTION_CHARACTERS)]
    above = _TITLE + _LEGEND_LINE * len(legend) + 0.08
    below = _CAPTION_LINE * len(lines) + 0.16
    height = above + panels_height + below
    space = (0.005, below / height, 0.99, panels_height / height)
    figure = Figure((WIDTH, height), layout=ConstrainedLayoutEngine(rect=space, wspace=0.04, hspace=0.06))
    figure.suptitle(title, x=_LEFT, y=1 - 0.09 / height, ha="left", va="top", fontsize=11.5, fontweight="bold")
    for index, handles in enumerate(legend):
        _legend(figure, handles, 1 - (_TITLE + _LEGEND_LINE * index) / height)
    text = figure.text(_LEFT, 0.08 / height, "\n".join(lines), va="bottom", linespacing=1.35)
    text.set(color=GREY, fontsize=_CAPTION_SIZE, in_layout=False)
    return figure


def _legend_lines(keys: Sequence[Artist]) -> list[list[Artist]]:
    lines: list[list[Artist]] = []
    used = _LEGEND_CHARACTERS
    for key in keys:
        width = len(str(key.get_label())) + _KEY_CHARACTERS
        if used + width > _LEGEND_CHARACTERS:
            lines.append([])
            used = 0
        lines[-1].append(key)
        used += width
    return lines


def _legend(figure: Figure, handles: Sequence[Artist], top: float) -> None:
    figure.legend(
        handles=list(handles),
        loc="upper left",
        bbox_to_anchor=(_LEFT - 0.0035, top),
        ncols=len(handles),
        borderaxespad=0,
        borderpad=0.2,
        columnspacing=1.6,
        handletextpad=0.5,
    ).set_in_layout(False)


def fitted(title: str, columns: int, points: float) -> str:
    """A panel's title in lines no longer than the panel, with this many side by side.  points: the font's size."""
    characters = int((WIDTH - 0.6) / columns / (_CHARACTER * points / 72))
    return "\n".join(part for line in title.split("\n") for part in wrap(line, characters) or [""])


def line_of_panels(figure: Figure, titles: Sequence[str], *, x: str, y: str, most: int | None = None) -> list[Axes]:
    """Panels side by side that share a y axis, in several lines if there are more than `most`; x, y: what the axes
    show."""
    lines, columns = shape_of_panels(len(titles), most)
    grid = figure.subplots(lines, columns, sharey=True, squeeze=False).flatten()
    for axes, title in zip(grid, titles, strict=False):
        axes.set_title(fitted(title, columns, PANEL_TITLE))
        axes.set_xlabel("\n".join(wrap(x, _LINE_CHARACTERS // columns)))
    for axes in grid[::columns]:
        axes.set_ylabel(y)
    for axes in grid[len(titles) :]:
        axes.set_visible(False)
    return list(grid[: len(titles)])


def shape_of_panels(number: int, most: int | None = None) -> tuple[int, int]:
    """Lines and columns; no line has more than `most` panels, and none is much shorter than the others."""
    lines = -(-number // (most or number))
    return lines, -(-number // lines)


def panels(
    figure: Figure, rows: Sequence[PanelRow], modes: Sequence[str], *, x: str, y: str
) -> list[tuple[PanelRow, str, Axes]]:
    """Each panel with its row and its view; x, y: what the axes show."""
    grid = figure.subplots(len(rows), len(modes), sharex=True, sharey=True, squeeze=False)
    for row, line in zip(rows, grid, strict=True):
        line[0].set_ylabel("\n".join(filter(None, [row.name, y])))
    for mode, head, foot in zip(modes, grid[0], grid[-1], strict=True):
        head.set_title(VIEWS.get(mode, mode))
        foot.set_xlabel(x)
    return [
        (row, mode, axes) for row, line in zip(rows, grid, strict=True) for mode, axes in zip(modes, line, strict=True)
    ]
