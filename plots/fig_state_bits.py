"""Accuracy against bits of state: what recurrent models reach, below the ceiling for any reader with so many bits.

A curve for each n: the best of the models, as trained or with their state quantised, with no more bits.
"""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from retrieval_gap.about import in_order

from . import style
from .caption import hardware, held_out, left_out
from .kept import number_of
from .page import line_of_panels, page
from .probes import BITS_CARRIED, DEMO_PROBE, Probes, colours_of, frontier, places, read_probes, title_of

DEFAULT_TABLE, read_table = DEMO_PROBE, read_probes
_CEILING, _QUANTISED = (0, (4, 2)), 2.2


def draw_figure(probes: Probes) -> Figure:
    """A panel for each task.  Raises UsageError for a table without models that have a state of fixed size and answer
    directly."""
    kept = probes.only(lambda r: probes.states[r.arch] == "fixed" and r.mode == "direct", "a recurrent model")
    ns = colours_of(kept.ns)
    figure = page("Accuracy against bits of state", [_keys(ns), _marks()], _caption(kept), 3.6)
    parts = kept.by_task()
    panels = line_of_panels(
        figure, [title_of(part) for part in parts], x=BITS_CARRIED, y="accuracy (share of right answers)"
    )
    for part, axes in zip(parts, panels, strict=True):
        for n in part.ns:
            _draw_size(axes, part, n, ns[n])
        _axes(axes, part)
    return figure


def _draw_size(axes: Axes, probes: Probes, n: int, colour: str) -> None:
    means = [mean for mean in probes.means if mean.runs[0].n == n]
    most = max(mean.state_bits for mean in means)
    bits = np.unique(np.geomspace(1, most, 300).round().astype(np.int64))
    axes.plot(bits, probes.bound(n).ceiling(bits), color=colour, linestyle=_CEILING, linewidth=1.4, label="ceiling")
    quantised = [mean for mean in means if not mean.as_it_is and mean.state_bits]
    trained = [mean for mean in means if mean.as_it_is]
    axes.plot(*places(quantised), ".", color=style.tint(colour, 0.55), markersize=_QUANTISED, label="quantised")
    best = [mean for mean in frontier(means) if mean.state_bits]
    axes.step(
        [*(mean.state_bits for mean in best), most],
        [*(mean.accuracy for mean in best), best[-1].accuracy],
        where="post",
        color=colour,
        linewidth=1.3,
        label=f"n = {n}",
    )
    for some, mark in ((best, style.filled_marker("o", colour)), (trained, style.filled_marker("s", colour))):
        axes.errorbar(*places(some), yerr=style.interval(some), **mark, linestyle="none", elinewidth=0.9)


def _axes(axes: Axes, probes: Probes) -> None:
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(lambda bits, _: f"{bits:g}")
    axes.set_ylim(0, 1.03)
    axes.grid(axis="both")
    axes.axhline(float(probes.bound(probes.ns[0]).ceiling(0)), color=style.GREY, linewidth=0.9, zorder=1)


def _keys(colours: dict[int, str]) -> list[Line2D]:
    return [Line2D([], [], color=colour, linewidth=3, label=f"n = {n}") for n, colour in colours.items()]


def _marks() -> list[Line2D]:
    return [
        Line2D([], [], color=style.INK, linestyle=_CEILING, label="ceiling: no reader is above"),
        Line2D([], [], **style.filled_marker("s", style.INK), linestyle="none", label="model as trained"),
        Line2D([], [], **style.filled_marker("o", style.INK), linestyle="-", label="best with no more bits"),
        Line2D([], [], marker=".", markersize=3, color=style.GREY, linestyle="none", label="quantised"),
        Line2D([], [], color=style.GREY, linewidth=0.9, label="chance"),
    ]


def _caption(probes: Probes) -> str:
    rows = probes.rows
    trained = number_of({row.samples for row in rows}, "sample")
    return (
        f"Free decoding of {held_out(rows)}; an undecided answer is wrong. Values are means of "
        f"{probes.seeds}; error bars span the lowest to the highest end of the seeds' 95 % Wilson intervals. "
        "Quantised: the trained model's state, or its first principal components, rounded to few bits at the end of "
        "the sequence before decoding. The ceiling is that of the best possible cell (one-way communication), over "
        f"all problems of the size. Models: {_models(probes)}. Trained on {trained}. Hardware: "
        f"{hardware(rows)}.\n{left_out(probes.left_out)}"
    )


def _models(probes: Probes) -> str:
    return ", ".join(style.name_of(arch) for arch in in_order(row.arch for row in probes.rows))
