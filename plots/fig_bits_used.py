"""Bits that trained models use against bits that their accuracy needs.

Used: the fewest bits carried that keep 99 % of a model's accuracy.  Needed: the fewest with which any reader could
reach that.  A model below the line of equality would contradict the bound.
"""

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from . import style
from .caption import held_out, left_out
from .page import line_of_panels, page
from .probes import DEMO_PROBE, ProbedRow, Probes, colours_of, least_bits, read_probes, title_of

DEFAULT_TABLE, read_table = DEMO_PROBE, read_probes
_X, _Y = (
    "bits needed: fewest with which any reader has this accuracy",
    "bits used: fewest that keep 99 % of the accuracy",
)
KEPT_SHARE = 0.99


def draw_figure(probes: Probes) -> Figure:
    """A panel for each task.  Raises UsageError for a table without an unquantised state of a direct run."""
    kept = probes.only(lambda r: r.bits is None and r.mode == "direct", "a state as it is")
    ns, marks = colours_of(kept.ns), style.architecture_markers([row.arch for row in kept.rows])
    figure = page("Bits used against bits needed", [_keys(ns, marks)], _caption(kept), 3.8)
    parts = kept.by_task()
    panels = line_of_panels(figure, [title_of(part) for part in parts], x=_X, y=_Y)
    for part, axes in zip(parts, panels, strict=True):
        for row in part.rows:
            _draw_run(axes, row, needed_bits(part, row), style.filled_marker(marks[row.arch], ns[row.n]))
        _axes(axes, part)
    return figure


def needed_bits(probes: Probes, row: ProbedRow) -> int:
    """The fewest bits with which a reader could reach `KEPT_SHARE` of the accuracy of this unquantised state."""
    return least_bits(probes.bound(row.n), KEPT_SHARE * row.accuracy)


def _draw_run(axes: Axes, row: ProbedRow, needed: int, look: dict[str, Any]) -> None:
    high = row.state_bits if row.bits_used_high is None else row.bits_used_high
    place = max(needed, 1)
    axes.vlines(place, max(1, row.bits_used_low), high, color=look["color"], linewidth=0.9)
    axes.plot(place, max(1, row.bits_used), label=row.arch, **look)


def _axes(axes: Axes, probes: Probes) -> None:
    most = max(probes.bound(n).bits_needed for n in probes.ns) * 1.3
    axes.plot([1, most], [1, most], color=style.INK, linewidth=1.0, linestyle=(0, (4, 2)), label="equal")
    for set_scale, axis in ((axes.set_xscale, axes.xaxis), (axes.set_yscale, axes.yaxis)):
        set_scale("log", base=2)
        axis.set_major_formatter(lambda bits, _: f"{bits:,.0f}")
    axes.set_xlim(0.8, most)
    axes.grid(axis="both")


def _keys(colours: dict[int, str], markers: dict[str, str]) -> list[Line2D]:
    marks = [
        Line2D([], [], **style.filled_marker(mark, style.GREY), ls="none", label=style.name_of(arch))
        for arch, mark in markers.items()
    ]
    sizes = [Line2D([], [], color=colour, linewidth=3, label=f"n = {n}") for n, colour in colours.items()]
    return [*sizes, *marks, Line2D([], [], color=style.INK, linestyle=(0, (4, 2)), label="used = needed")]


def _caption(probes: Probes) -> str:
    return (
        f"Each mark is a trained model; {held_out(probes.rows)}. Lines: the fewest bits with 99 % of the model's "
        "accuracy, by the upper and the lower end of the 95 % Wilson interval (up to the whole state if no number of "
        "bits reaches it). Bits tried: a number of levels per element or principal component of the state. A model "
        "near chance uses almost no bits; it is drawn at 1 bit."
        f" {left_out(probes.left_out)}"
    )
