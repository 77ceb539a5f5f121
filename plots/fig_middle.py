"""Lost in the middle: each head's score by the place of the one deciding sentence in the text."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from . import style
from .caption import left_out
from .heads_table import (
    DEFAULT_TABLE,
    METRICS,
    MOST_IN_A_LINE,
    HeadRow,
    head_keys,
    head_looks,
    heads_of,
    making,
    read_heads,
    set_title,
    settings_of,
)
from .kept import Kept
from .page import line_of_panels, page, shape_of_panels

__all__ = ["DEFAULT_TABLE", "draw_figure", "read_table"]

read_table = read_heads
_TENTHS = 10


def draw_figure(table: Kept[HeadRow]) -> Figure:
    """A panel for each set in which one sentence decides.  Raises UsageError if there is none."""
    kept = table.only(
        lambda row: row.place is not None and row.control == "none",
        "set in which one sentence decides (negation_scope is one)",
        lambda row: "whole texts" if row.place is None else f"control {row.control.replace('_', ' ')}",
    )
    placed = kept.rows
    settings = settings_of(placed)
    heads = heads_of(placed)
    whole = [row for row in table.rows if row.place is None and row.setting in settings]
    figure = page(
        "Score by the position of the deciding sentence", [head_keys(heads)], _caption(whole, kept.left_out),
        2.9 * shape_of_panels(len(settings), MOST_IN_A_LINE)[0],
    )  # fmt: skip
    titles = [set_title(next(row for row in placed if row.setting == setting)) for setting in settings]
    x, y = "position of the deciding sentence: 0 first, 1 last", METRICS.get(placed[0].metric, placed[0].metric)
    panels = line_of_panels(figure, titles, x=x, y=y, most=MOST_IN_A_LINE)
    for axes, setting in zip(panels, settings, strict=True):
        _panel(axes, [row for row in placed if row.setting == setting], heads)
    return figure


def _panel(axes: Axes, rows: Sequence[HeadRow], heads: Sequence[str]) -> None:
    axes.grid(axis="y")
    axes.set_xlim(-0.03, 1.03)
    axes.axhline(max(row.floor for row in rows), color=style.GREY, linestyle=(0, (5, 3)), linewidth=0.9)
    for number, (head, look) in enumerate(head_looks(heads).items()):
        of_head = sorted((row for row in rows if row.head == head), key=lambda row: row.place or 0)
        shift = style.dodged(number, len(heads), 0.06)
        axes.errorbar(
            [((row.place or 0) + 0.5) / _TENTHS + shift for row in of_head],
            [row.score for row in of_head],
            yerr=style.interval(of_head),
            elinewidth=0.8,
            linewidth=1.1,
            **look,
        )


def _caption(whole: Sequence[HeadRow], others: Sequence[str]) -> str:
    return (
        f"{making(whole)} Each mark is the score on the test examples whose deciding sentence is in that tenth of the "
        f"text. Dashed: the highest of the floors (majority, bag of words, first word). {left_out(others)}"
    )
