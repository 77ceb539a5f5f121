"""Heads over token states: what each gains over attention pooling, and over itself when the states are shuffled.

A head whose filled mark is right of zero beats a head that sees no order; if its hollow mark is too, it also beats
itself on shuffled states, and the order of the states is the reason.  Published gains have a panel of their own: they
are over a base that others trained.
"""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from . import style
from .caption import left_out
from .heads_published import Gain, read_gains
from .heads_table import (
    DEFAULT_TABLE,
    MOST_IN_A_LINE,
    SHUFFLED_STATES,
    HeadRow,
    heads_of,
    making,
    read_heads,
    set_title,
    settings_of,
)
from .kept import Kept
from .page import PANEL_TITLE, fitted, page, shape_of_panels

__all__ = ["DEFAULT_TABLE", "draw_figure", "read_table"]

read_table = read_heads
_CONTROL, _ORDER = "#0072B2", "#D55E00"
_LINE = 0.2  # inches, of a head
_AROUND = 0.8  # inches, of titles and axes
_OFFSET = 0.18  # distance of the two marks of a head from its line


def draw_figure(table: Kept[HeadRow]) -> Figure:
    """A panel for each set, a line for each head.  Raises UsageError if nothing is compared."""
    kept = table.only(
        lambda row: not _why_not(row), "heads to compare: attention (for labels of tokens: mlp) beside others", _why_not
    )
    compared = kept.rows
    settings = settings_of(compared)
    published = read_gains()
    lines, columns = shape_of_panels(len(settings) + 1, MOST_IN_A_LINE)
    heads = [heads_of([row for row in compared if row.setting in settings[columns * line : columns * (line + 1)]])
             for line in range(lines)]  # fmt: skip
    heights = [_LINE * len(names) for names in heads]
    heights[-1] = max(heights[-1], 2 * _LINE * len(published))
    figure = page("What a head gets from token states, and from their order", [_keys(compared)], _caption(kept),
                  sum(heights) + _AROUND * lines)  # fmt: skip
    grid = figure.subplots(lines, columns, squeeze=False, height_ratios=heights).flatten()
    reach = _reach(compared)
    for place, (axes, setting) in enumerate(zip(grid, settings, strict=False)):
        rows = [row for row in compared if row.setting == setting]
        _panel(axes, rows, heads[place // columns], named=place % columns == 0)
        axes.set_title(fitted(set_title(rows[0]), columns, PANEL_TITLE))
        axes.set_xlim(reach)
    grid[len(settings)].set_title(fitted(f"published\n{published[0].dataset}", columns, PANEL_TITLE))
    _published_panel(grid[len(settings)], published)
    for axes in grid[len(settings) + 1 :]:
        axes.set_visible(False)
    return figure


def _reach(rows: Sequence[HeadRow]) -> tuple[float, float]:
    """The limits of all panels' x axes: a difference has the same length in each."""
    low = min(min(row.difference_low, -row.detectable) for row in rows)
    high = max(max(row.difference_high, row.detectable) for row in rows)
    return low - 0.03 * (high - low), high + 0.03 * (high - low)


def _why_not(row: HeadRow) -> str:
    """Why a row is not drawn; "" if it is."""
    if row.control != "none":
        return f"control {row.control.replace('_', ' ')}"
    if row.place is not None:
        return "single places in the text"
    if row.difference is None:
        return "a head compared with nothing"
    if row.versus == SHUFFLED_STATES:
        return "" if row.detectable > 0 else "a head that sees no order, against shuffled states"
    return "" if row.versus.startswith("head ") else f"comparison with {row.versus}"


def _panel(axes: Axes, rows: Sequence[HeadRow], heads: Sequence[str], *, named: bool) -> None:
    _lines(axes, heads if named else [""] * len(heads))
    axes.set_xlabel("difference in " + rows[0].metric.replace("_", " "))
    unseen = max(row.detectable for row in rows)
    axes.axvspan(-unseen, unseen, color=style.FAINT, alpha=0.6, linewidth=0)
    for row in rows:
        if row.versus.startswith("head "):
            _mark(axes, row, heads.index(row.head) - _OFFSET, _CONTROL, filled=True)
        else:
            _mark(axes, row, heads.index(row.head) + _OFFSET, _ORDER, filled=False)


def _published_panel(axes: Axes, gains: Sequence[Gain]) -> None:
    _lines(axes, [""] * len(gains))
    axes.set_ylim(len(gains) - 0.4, -1)
    axes.set_xlabel(f"difference in {gains[0].metric}")
    for line, gain in enumerate(gains):
        named = f"{gain.model}, {gain.head} [{gain.mark}]" + ("" if gain.difference is not None else ": no base told")
        # At the panel's edge, above its line and mark: beside the panel it would push the others apart.
        text = axes.annotate(
            named, (0, line), (4, 7), xycoords=("axes fraction", "data"), textcoords="offset points", fontsize=7
        )
        text.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 0.6})
        if gain.difference is None:
            continue
        axes.errorbar(gain.difference, line, xerr=gain.reach, color=style.GREY, elinewidth=1.0,
                      **style.open_marker("D", style.INK))  # fmt: skip


def _lines(axes: Axes, names: Sequence[str]) -> None:
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_yticks(range(len(names)), list(names))
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")
    axes.axvline(0, color=style.GREY, linewidth=0.9)


def _mark(axes: Axes, row: HeadRow, place: float, colour: str, *, filled: bool) -> None:
    value = row.difference or 0.0
    reach = [[max(0.0, value - row.difference_low)], [max(0.0, row.difference_high - value)]]
    axes.errorbar(
        value,
        place,
        xerr=reach,
        elinewidth=1.0,
        linestyle="none",
        marker="o" if filled else "s",
        color=colour,
        markersize=4.5,
        markerfacecolor=colour if filled else "white",
    )


def _keys(rows: Sequence[HeadRow]) -> list[Line2D]:
    """Keys of the marks that are drawn."""
    control = Line2D([], [], linestyle="none", marker="o", color=_CONTROL, label="minus a head that sees no order")
    order = Line2D([], [], linestyle="none", marker="s", color=_ORDER, markerfacecolor="white",
                   label="minus itself on shuffled states: the effect of order")  # fmt: skip
    drawn = {row.versus.startswith("head ") for row in rows}
    return [
        *([control] if True in drawn else []),
        *([order] if False in drawn else []),
        Line2D([], [], label="published, minus a base that others trained", **style.open_marker("D", style.INK)),
    ]


def _caption(kept: Kept[HeadRow]) -> str:
    return (
        f"{making(kept.rows)} Differences are paired by example and seed. The head without order is attention pooling "
        "(for token labels, a perceptron on each token). Grey: differences that the panel's widest test misses "
        "more than one time in five. Published: one run each, with the baseline from another paper; [V] read in "
        "the source, [S] in a summary; bars: our 95 % interval of an unpaired difference on that many test examples. "
        f"{left_out(kept.left_out)}"
    )
