"""The words that a figure shows, and a check that they can be read."""

from itertools import combinations

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text


def shown(figure: Figure) -> list[Text]:
    """All text that a reader sees, so without the labels of ticks beyond the ends of an axis."""
    texts = [*figure.texts, *(text for part in figure.legends for text in part.get_texts())]
    for axes in figure.axes:
        texts += [axes.title, axes.xaxis.label, axes.yaxis.label, *axes.texts]
        for axis in (axes.xaxis, axes.yaxis) if axes.axison else ():
            low, high = sorted(axis.get_view_interval())
            texts += [tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
    return [text for text in texts if text.get_visible() and text.get_text().strip()]


def words(figure: Figure) -> str:
    """All text outside the panels, on one line and with ordinary spaces."""
    return " ".join(" ".join(text.get_text().split()) for text in figure.texts)


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for part in figure.legends for text in part.get_texts()]


def line(axes: Axes, label: str) -> list[tuple[float, float]]:
    """The points of the only line with this label."""
    (found,) = [each for each in axes.lines if each.get_label() == label]
    return list(zip(found.get_xdata(), found.get_ydata(), strict=True))


def check_words(figure: Figure) -> None:
    """Fails if words are cut off by the figure's edge, or overlap."""
    figure.draw_without_rendering()
    boxes = [(text.get_text(), text.get_window_extent()) for text in shown(figure)]
    for text, box in boxes:
        assert 0 <= box.x0 < box.x1 <= figure.bbox.x1, text
        assert 0 <= box.y0 < box.y1 <= figure.bbox.y1, text
    for (one, first), (other, second) in combinations(boxes, 2):
        assert not first.overlaps(second), (one, other)
