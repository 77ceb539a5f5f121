"""Heads' scores along an axis: a panel for each set, a line for each head."""

from collections.abc import Callable, Iterator, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from . import style
from .heads_table import METRICS, MOST_IN_A_LINE, HeadRow, head_keys, head_looks, heads_of, set_title, settings_of
from .page import line_of_panels, page, shape_of_panels


def page_of_sets(
    title: str, rows: Sequence[HeadRow], caption: str, x: str
) -> tuple[Figure, Iterator[tuple[Axes, list[HeadRow]]]]:
    """A figure, and each of its panels with the rows of its set."""
    sets = [[row for row in rows if row.setting == setting] for setting in settings_of(rows)]
    height = 2.9 * shape_of_panels(len(sets), MOST_IN_A_LINE)[0]
    figure = page(title, [head_keys(heads_of(rows))], caption, height)
    y, titles = METRICS.get(rows[0].metric, rows[0].metric), [set_title(of_set[0]) for of_set in sets]
    return figure, zip(line_of_panels(figure, titles, x=x, y=y, most=MOST_IN_A_LINE), sets, strict=True)


def draw_scores(
    axes: Axes, rows: Sequence[HeadRow], heads: Sequence[str], place_of: Callable[[HeadRow], float], spread: float
) -> None:
    """The scores of a set's heads by place, and the highest floor.  A score has a row for each comparison.

    heads: those of the figure, which fix the looks; they are drawn side by side, `spread` apart in all.
    """
    axes.grid(axis="y")
    axes.axhline(max(row.floor for row in rows), color=style.GREY, linestyle=(0, (5, 3)), linewidth=0.9)
    for number, (head, look) in enumerate(head_looks(heads).items()):
        at = {place_of(row): row for row in sorted(rows, key=place_of) if row.head == head}
        shift = style.dodged(number, len(heads), spread)
        axes.errorbar(
            [place + shift for place in at],
            [row.accuracy for row in at.values()],
            yerr=style.interval(list(at.values())),
            elinewidth=0.8,
            linewidth=1.1,
            **look,
        )
