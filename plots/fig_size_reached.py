"""The largest n answered with an accuracy of 0.9 or more, against bits of state.

The theory's line has slope 1: a sequence of n tokens has n log2(values) bits, and a reader that is always right carries
them all.  For an accuracy of 0.9 slightly fewer are enough: the staircase is the exact limit.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from . import style
from .caption import held_out, left_out
from .page import line_of_panels, page
from .probes import BITS_CARRIED, DEMO_PROBE, ProbedMean, Probes, least_bits, read_probes, title_of

DEFAULT_TABLE, read_table = DEMO_PROBE, read_probes
WANTED = 0.9
_SLOPE_1: Any = (0, (4, 2))


def draw_figure(probes: Probes) -> Figure:
    """A panel for each task.  Raises UsageError for a table without runs that answer directly."""
    kept = probes.only(lambda r: r.mode == "direct", "a model that answers at once")
    architectures = list(dict.fromkeys(row.arch for row in kept.rows))
    title = f"Length answered with accuracy {WANTED:g}, against bits of state"
    figure = page(title, [_keys(architectures)], _caption(kept), 3.4)
    parts = kept.by_task()
    panels = line_of_panels(
        figure,
        [title_of(part) for part in parts],
        x=BITS_CARRIED,
        y=f"largest n with accuracy at least {WANTED:g} (tokens)",
    )
    for part, axes in zip(parts, panels, strict=True):
        _theory(axes, part)
        _reached(axes, part, architectures)
        _axes(axes, part)
    return figure


def _theory(axes: Axes, probes: Probes) -> None:
    ns = np.array(probes.ns)
    needed = [probes.bound(n).bits_needed for n in probes.ns]
    axes.plot(needed, ns, color=style.INK, linestyle=_SLOPE_1, linewidth=1.0, label="slope 1")
    least = [least_bits(probes.bound(n), WANTED) for n in probes.ns]
    axes.plot(least, ns, color=style.INK, linewidth=1.0, marker="|", markersize=9, label="limit")


def reached(means: Iterable[ProbedMean]) -> list[tuple[int, int]]:
    """(bits, n) wherever more bits reach a larger n."""
    good = sorted((mean.state_bits, -mean.runs[0].n) for mean in means if mean.accuracy >= WANTED)
    steps: list[tuple[int, int]] = []
    for bits, minus_n in good:
        if not steps or -minus_n > steps[-1][1]:
            steps.append((bits, -minus_n))
    return steps


def _reached(axes: Axes, probes: Probes, architectures: list[str]) -> None:
    colours, marks, none = style.colours(architectures), style.architecture_markers(architectures), []
    for arch in architectures:
        means = [mean for mean in probes.means if mean.runs[0].arch == arch]
        steps = reached(means)
        if not means:
            continue  # it is in another panel
        if steps:
            bits, ns = zip(*steps, strict=True)
            mark = style.filled_marker(marks[arch], colours[arch])
            axes.plot(bits, ns, drawstyle="steps-post", linewidth=1.2, label=style.name_of(arch), **mark)
        else:
            best = max(mean.accuracy for mean in means)
            none.append(f"{style.name_of(arch)}: none reaches {WANTED:g} (best {best:.2f})")
    axes.text(0.98, 0.03, "\n".join(none), transform=axes.transAxes, ha="right", va="bottom", color=style.GREY)


def _axes(axes: Axes, probes: Probes) -> None:
    ns = probes.ns
    axes.set_xscale("log", base=2)
    axes.set_yscale("log", base=2)
    axes.xaxis.set_major_formatter(lambda bits, _: f"{bits:g}")
    axes.set_yticks(ns, [str(n) for n in ns])
    axes.minorticks_off()
    axes.set_ylim(ns[0] / 1.7, ns[-1] * 1.3)
    axes.grid(axis="both")


def _keys(architectures: list[str]) -> list[Line2D]:
    colours, marks = style.colours(architectures), style.architecture_markers(architectures)
    models = [
        Line2D([], [], **style.filled_marker(marks[a], colours[a]), label=style.name_of(a)) for a in architectures
    ]
    return [
        *models,
        Line2D([], [], color=style.INK, linestyle=_SLOPE_1, label="slope 1: bits of the sequence"),
        Line2D([], [], color=style.INK, label=f"proved: {WANTED:g} takes so many bits"),
    ]


def _caption(probes: Probes) -> str:
    return (
        f"Means of {probes.seeds}, {held_out(probes.rows)} each; the state as trained, or quantised at the end of the "
        "sequence. No model can be to the left of the proved line. Lengths tried: "
        f"{', '.join(map(str, probes.ns))}. Attention's state is its cache of keys and values, which grows with n."
        f" {left_out(probes.left_out)}"
    )
