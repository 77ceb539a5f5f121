"""How much order a head needs: its score when states are shuffled within windows of 2, 4, 8, ... to the whole text."""

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
_IN_ORDER = 1  # a window of one place shuffles nothing


def draw_figure(table: Kept[HeadRow]) -> Figure:
    """A panel for each set that has shuffled states.  Raises UsageError if there is none."""
    whole = table.only(
        lambda row: row.place is None and row.control in ("none", "shuffle_states"),
        "scores of whole texts",
        lambda row: f"control {row.control.replace('_', ' ')}" if row.place is None else "single places in the text",
    )
    settings = settings_of([row for row in whole.rows if row.control == "shuffle_states"])
    shown = whole.only(
        lambda row: row.setting in settings,
        "shuffled states (`heads run ... --control shuffle_states --window 0,2,4,8` makes some)",
        lambda row: f"{row.dataset.replace('_', ' ')}, whose states are not shuffled",
    )
    kept = shown.rows
    heads = heads_of(kept)
    windows = sorted({row.window for row in kept if row.window})
    figure = page("Score against how far states are shuffled", [head_keys(heads)], _caption(shown),
                  2.9 * shape_of_panels(len(settings), MOST_IN_A_LINE)[0])  # fmt: skip
    titles = [set_title(next(row for row in kept if row.setting == setting)) for setting in settings]
    y = METRICS.get(kept[0].metric, kept[0].metric)
    panels = line_of_panels(figure, titles, x="shuffle window (places)", y=y, most=MOST_IN_A_LINE)
    for axes, setting in zip(panels, settings, strict=True):
        _panel(axes, [row for row in kept if row.setting == setting], heads, windows)
    return figure


def _panel(axes: Axes, rows: Sequence[HeadRow], heads: Sequence[str], windows: Sequence[int]) -> None:
    places = [_IN_ORDER, *windows, 0]
    axes.set_xticks(range(len(places)), ["none", *map(str, windows), "all"])
    axes.grid(axis="y")
    axes.axhline(max(row.floor for row in rows), color=style.GREY, linestyle=(0, (5, 3)), linewidth=0.9)
    for number, (head, look) in enumerate(head_looks(heads).items()):
        of_head = {
            row.window if row.control == "shuffle_states" else _IN_ORDER: row for row in rows if row.head == head
        }
        found = [(place, of_head[window]) for place, window in enumerate(places) if window in of_head]
        shift = style.dodged(number, len(heads), 0.36)
        axes.errorbar(
            [place + shift for place, _ in found],
            [row.score for _, row in found],
            yerr=style.interval([row for _, row in found]),
            elinewidth=0.9,
            linewidth=1.1,
            **look | ({} if len(found) > 1 else {"linestyle": "none"}),
        )


def _caption(shown: Kept[HeadRow]) -> str:
    return (
        f"{making(shown.rows)} States are shuffled within windows of this many places, in training and test. Dashed: "
        "the highest of the floors (majority, bag of words, first word). Heads without order are drawn unshuffled "
        f"only: shuffling does not change them. {left_out(shown.left_out)}"
    )
