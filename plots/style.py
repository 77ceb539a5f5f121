"""What all figures share: names, colours, marks, lines.

Colours are those of Okabe and Ito (2008), which colour-blind readers can distinguish.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from math import floor, log2
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.lines import Line2D

from retrieval_gap.about import about, in_order

from .results import Model, Results
from .seeds import ShareWithInterval

CHANCE = 0.5
INK, GREY, FAINT = "#222222", "#6b6b6b", "#dddddd"
PUBLISHED = "published (Wen et al. 2025)"
VIEWS = {"direct": "Direct answer", "cot": "Chain of thought", "rag": "Retrieval"}
# An architecture has the colour of its slot; those without one take the rest.
# After the colours of Okabe and Ito come three of Paul Tol's muted ones.
_PALETTE = (
    "#0072B2", "#009E73", "#D55E00", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#882255", "#DDCC77", "#332288",
)  # fmt: skip
_ARCHITECTURE_MARKERS = ("s", "D", "^", "o", "v", "P", "X", "p", "h", "*")
MARKS = ("o", "s", "^", "D", "v", "P", "X", "p", "h", "*")  # of lines that differ in something else
_MODEL_COLOURS = _PALETTE[4:7]
_MARKERS = {"tiny": "D", "0.5m": "v", "1m": "s", "2m": "o"}
_MORE_MARKERS = ("^", "p", "h")
_DASHES = {"tiny": "-.", "0.5m": ":", "1m": "--", "2m": "-"}
_CHANCE_LINE: dict[str, Any] = {"color": GREY, "linestyle": (0, (5, 3)), "linewidth": 0.9}
_SEED_DOT: dict[str, Any] = {"linestyle": "none", "marker": "o", "markersize": 1.8, "color": INK}
_SETTINGS: Any = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, so that every machine draws the same
    "font.size": 9,
    "axes.titlesize": 10.5,
    "axes.edgecolor": GREY,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "text.color": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "svg.hashsalt": "retrieval-gap",
}


@contextmanager
def applied() -> Iterator[None]:
    """Apply our settings to matplotlib's own defaults, whatever the user's matplotlibrc says; undo them at the end."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_SETTINGS)
        yield


def name_of(arch: str) -> str:
    """An architecture's name, as its file gives it."""
    return about(arch).name


def size_name(size: str) -> str:
    return size.upper() if size[:1].isdigit() else size


def family_name(family: str) -> str:
    return f"{family.replace('_', '-')} graphs"


def label_of(model: Model, sizes: Sequence[str]) -> str:
    """The architecture, with the size if there are several."""
    return name_of(model.arch) + (f" {size_name(model.size)}" if len(sizes) > 1 else "")


def colours(architectures: Sequence[str]) -> dict[str, str]:
    """Architectures with a slot keep its colour in every figure; others take the rest, in order."""
    return {arch: _PALETTE[colour] for arch, (colour, _) in _places(architectures).items()}


def architecture_markers(architectures: Sequence[str]) -> dict[str, str]:
    """A mark for each architecture, likewise.  No two of a hundred share both colour and mark."""
    return {arch: _ARCHITECTURE_MARKERS[mark] for arch, (_, mark) in _places(architectures).items()}


def _places(architectures: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Each architecture's index among the colours and among the marks.

    A slot belongs to its first owner; an architecture without one, or too late, takes a free one from the end, so that
    it does not look like those that most figures show.  If none is free, a colour repeats with another mark.
    """
    number = len(_PALETTE)
    taken: dict[int, str] = {}
    waiting = []
    for arch in in_order(architectures):
        slot = about(arch).slot
        if slot < number and slot not in taken:
            taken[slot] = arch
        else:
            waiting.append(arch)
    free = [slot for slot in reversed(range(number)) if slot not in taken]
    again = [(slot, (slot + shift) % number) for shift in range(1, number) for slot in reversed(range(number))]
    looks = [*((slot, slot) for slot in free), *again]
    chosen = {arch: (slot, slot) for slot, arch in taken.items()}
    return chosen | {arch: looks[i % len(looks)] for i, arch in enumerate(waiting)}


def model_colours(models: Sequence[str]) -> dict[str, str]:
    """Colours of pretrained models, none of them an architecture's."""
    return {model: _MODEL_COLOURS[i % len(_MODEL_COLOURS)] for i, model in enumerate(models)}


def palette(values: Sequence[str]) -> dict[str, str]:
    """A colour for each of a few values that have no order."""
    return {value: _PALETTE[i % len(_PALETTE)] for i, value in enumerate(values)}


def name_of_task(task: str) -> str:
    """A task's name, or its file's stem, such as `Associative recall`."""
    name = Path(task).stem if task.endswith(".py") else task
    return "IsTree" if name == "istree" else name.replace("_", " ").capitalize()


def markers(sizes: Sequence[str]) -> dict[str, str]:
    """A mark for each model size of a panel; a dot if there is only one."""
    return _by_size(sizes, _MARKERS, _MORE_MARKERS, "o")


def dashes(sizes: Sequence[str]) -> dict[str, Any]:
    """A line style for each model size of a panel; solid if there is only one."""
    return _by_size(sizes, _DASHES, ("-.",), "-")


def _by_size(sizes: Sequence[str], known: dict[str, str], more: Sequence[str], only: str) -> dict[str, str]:
    if len(sizes) == 1:
        return {sizes[0]: only}
    others = [size for size in sizes if size not in known]
    return known | {size: more[i % len(more)] for i, size in enumerate(others)}


def tint(colour: str, share: float) -> tuple[float, float, float]:
    """`share` of a colour, the rest white."""
    red, green, blue = (1 - share * (1 - part) for part in to_rgb(colour))
    return red, green, blue


def filled_marker(marker: str, colour: str) -> dict[str, Any]:
    """How our values are drawn."""
    edge = {"markeredgecolor": "white", "markeredgewidth": 0.4}
    return {"color": colour, "marker": marker, "markersize": 4.5} | edge


def open_marker(marker: str, colour: str) -> dict[str, Any]:
    """How published values are drawn: hollow, and larger than ours, so that both are seen if they agree."""
    edge = {"markerfacecolor": "none", "markeredgecolor": colour, "markeredgewidth": 0.8}
    return {"linestyle": "none", "marker": marker, "markersize": 7.5} | edge


def doublings(axes: Axes, values: Iterable[float]) -> None:
    """A scale of doublings along x, with a tick at each value."""
    ticks = sorted(set(values))
    axes.set_xscale("log", base=2)
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks], minor=False)
    axes.minorticks_off()


def step_of(ns: Sequence[int], models: int) -> float:
    """Octaves between neighbouring models: a fixed part of the axis, or less if groups would mix.  ns: two or more."""
    octaves = [log2(n) for n in ns]
    closest = min(after - before for before, after in pairwise(octaves))
    return min(0.025 * (octaves[-1] - octaves[0]), 0.6 * closest / models)


def dodged(number: int, of: int, width: float) -> float:
    """Sideways shift of the marks of one line of several, so that none hides another; width: of all lines."""
    return width * (number / (of - 1) - 0.5) if of > 1 else 0.0


def chance_line(axes: Axes, *, vertical: bool = False) -> None:
    line = axes.axvline if vertical else axes.axhline
    line(CHANCE, zorder=1, label="chance", **_CHANCE_LINE)


def published_dots(axes: Axes, places: Sequence[tuple[float, float]], marker: str, colour: str) -> None:
    """Draw published values at (x, y), which may be on the panel's edge."""
    if places:
        xs, ys = zip(*places, strict=True)
        axes.plot(xs, ys, label=PUBLISHED, zorder=4, clip_on=False, **open_marker(marker, colour))


def seed_dots(axes: Axes, places: Sequence[tuple[float, float]]) -> None:
    """Draw every seed of a point; a single seed is the point itself."""
    if len(places) > 1:
        xs, ys = zip(*places, strict=True)
        axes.plot(xs, ys, label="one seed", zorder=5, clip_on=False, **_SEED_DOT)


def interval(points: Sequence[ShareWithInterval]) -> list[list[float]]:
    """Lengths below and above the means, as matplotlib's error bars need them."""
    return [
        [max(0.0, point.accuracy - point.low) for point in points],
        [max(0.0, point.high - point.accuracy) for point in points],
    ]


def chance_key() -> Line2D:
    return Line2D([], [], label="chance", **_CHANCE_LINE)


def seed_key() -> Line2D:
    return Line2D([], [], label="one seed", **_SEED_DOT)


def other_keys(results: Results) -> list[Line2D]:
    """Legend entries for published values and for seeds, if the figure has them."""
    keys = []
    if results.published:
        keys.append(Line2D([], [], label=PUBLISHED, **open_marker("o", INK)))
    if results.several_seeds:
        keys.append(seed_key())
    return keys


def lowest(results: Results) -> float:
    """The start of an axis of accuracies: below chance and below every interval, on a tenth."""
    least = min(
        [
            CHANCE - 0.05,
            *(point.low for point in results.points.values()),
            *(results.published or {}).values(),
        ]
    )
    return floor(least * 10) / 10
