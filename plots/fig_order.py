"""How much order a head needs: its score when states are shuffled within windows of 2, 4, 8, ... to the whole text."""

from matplotlib.figure import Figure

from .caption import left_out
from .head_curves import draw_scores, page_of_sets
from .heads_table import DEFAULT_TABLE, HeadRow, heads_of, making, read_heads
from .kept import Kept

__all__ = ["DEFAULT_TABLE", "draw_figure", "read_table"]

read_table = read_heads
_IN_ORDER = 1  # a window of one place shuffles nothing


def draw_figure(table: Kept[HeadRow]) -> Figure:
    """A panel for each set that has shuffled states.  Raises UsageError if there is none."""
    whole = table.only(
        lambda row: row.place is None and row.control in ("none", "shuffle_states"),
        "scores of whole texts",
        lambda row: f"control {row.control.replace('_', ' ')}" if row.place is None else "single places in the text",
    )
    settings = {row.setting for row in whole.rows if row.control == "shuffle_states"}
    shown = whole.only(
        lambda row: row.setting in settings,
        "shuffled states (`heads run ... --control shuffle_states --window 0,2,4,8` makes some)",
        lambda row: f"{row.dataset.replace('_', ' ')}, whose states are not shuffled",
    )
    windows, heads = sorted({row.window for row in shown.rows if row.window}), heads_of(shown.rows)
    places = [_IN_ORDER, *windows, 0]  # 0: over the whole text
    title, x = "Score against how far states are shuffled", "shuffle window (places)"
    figure, panels = page_of_sets(title, shown.rows, _caption(shown), x)
    for axes, rows in panels:
        axes.set_xticks(range(len(places)), ["none", *map(str, windows), "all"])
        draw_scores(axes, rows, heads, lambda row: places.index(_window(row)), 0.36)
    return figure


def _window(row: HeadRow) -> int:
    return row.window if row.control == "shuffle_states" else _IN_ORDER


def _caption(shown: Kept[HeadRow]) -> str:
    return (
        f"{making(shown.rows)} States are shuffled within windows of this many places, in training and test. Dashed: "
        "the highest of the floors (majority, bag of words, first word). Heads without order are drawn unshuffled "
        f"only: shuffling does not change them. {left_out(shown.left_out)}"
    )
