"""Lost in the middle: each head's score by the place of the one deciding sentence in the text."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from .caption import left_out
from .head_curves import draw_scores, page_of_sets
from .heads_table import DEFAULT_TABLE, HeadRow, heads_of, making, read_heads
from .kept import Kept

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
    settings, heads = {row.setting for row in placed}, heads_of(placed)
    whole = [row for row in table.rows if row.place is None and row.setting in settings]
    figure, panels = page_of_sets(
        "Score by the position of the deciding sentence",
        placed,
        _caption(whole, kept.left_out),
        x="position of the deciding sentence: 0 first, 1 last",
    )
    for axes, rows in panels:
        axes.set_xlim(-0.03, 1.03)
        draw_scores(axes, rows, heads, lambda row: ((row.place or 0) + 0.5) / _TENTHS, 0.06)
    return figure


def _caption(whole: Sequence[HeadRow], others: Sequence[str]) -> str:
    return (
        f"{making(whole)} Each mark is the score on the test examples whose deciding sentence is in that tenth of the "
        f"text. Dashed: the highest of the floors (majority, bag of words, first word). {left_out(others)}"
    )
