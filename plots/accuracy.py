"""Accuracy in any table of runs, along any of its columns: `retrieval-gap plot accuracy --results FILE --x n`.

Every row is drawn; the caption names rows that have no place.  A ceiling is the best accuracy that any reader with a
model's bits of state can have (docs/theory.md), drawn if it is less than 1.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullLocator

from retrieval_gap.machine.errors import UsageError
from retrieval_gap.tables.values import count_in
from retrieval_gap.tasks.api import Mode, Task, TaskConfig, TaskError
from retrieval_gap.tasks.registry import load_task
from retrieval_gap.theory.bounds import BOUNDS, Bound, bound_of

from . import style
from .caption import left_out
from .kept import number_of
from .page import fitted, page
from .series import Y_COLUMNS, Line, SeedMean, Series, name_in, read_series, tested_options, x_name

read_table = read_series
MOST_COLUMNS = 3  # of panels
MOST_PALETTE = 7
_ROW = 2.7  # inches
_TITLE = 9.5  # points, of a panel's title
_CEILING: dict[str, Any] = {"linestyle": "none", "marker": "_", "markersize": 11, "markeredgewidth": 1.4}
_TRAINED: dict[str, Any] = {"color": style.INK, "linestyle": (0, (1, 2)), "linewidth": 1.0, "zorder": 1}
_LINES: tuple[Any, ...] = ("-", (0, (4, 1.5)), (0, (1, 1)), (0, (5, 1, 1, 1)), (0, (8, 2)))
_TICKS = 0.18  # least distance of ticks, as a share of the axis
_SPREAD = 0.012  # distance of lines, as a share of the axis, so that none hides another


def draw_figure(series: Series) -> Figure:
    """A panel for each problem and value of the panel's column; a line for each model."""
    keys = series.panels
    columns = min(MOST_COLUMNS, len(keys))
    rows = math.ceil(len(keys) / columns)
    drawn = [_Panel(series, key) for key in keys]
    legend = _legend(series, drawn)
    figure = page(f"{_shown(series)} by {x_name(series.view.x)}", legend, _caption(series, drawn), _ROW * rows)
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for axes, panel in zip(grid.flat, drawn, strict=False):
        panel.draw(axes)
    for axes in grid.flat[len(keys) :]:
        axes.set_axis_off()
    for line in grid:
        line[0].set_ylabel(Y_COLUMNS[series.view.y])
    for axes in grid.flat[max(0, len(keys) - columns) : len(keys)]:
        axes.set_xlabel(x_name(series.view.x))
        axes.tick_params(axis="x", labelbottom=True)
    lowest = min(point.low for line in series.lines for point in line.points)
    lowest = min([lowest, *(share for panel in drawn for _, share in panel.chances)])
    grid[0][0].set_ylim(max(-0.03, math.floor(10 * lowest - 0.3) / 10), 1.04)
    return figure


def _shown(series: Series) -> str:
    share = Y_COLUMNS[series.view.y]
    return share[0].upper() + share[1:]


class _Panel:
    """One problem's lines, with its chance and ceilings."""

    def __init__(self, series: Series, key: tuple[str, ...]) -> None:
        self.series, self.key = series, key
        self.lines = [line for line in series.lines if line.panel == key]
        if series.view.y != "accuracy":  # what is known by chance, or proved, is about answers
            self.chances, self.ceilings = set[tuple[float, float]](), dict[tuple[int, int], float]()
            return
        points = [point for line in self.lines for point in line.points]
        self.chances = {(point.x, share) for point in points if (share := _chance(*_problem(point))) is not None}
        self.ceilings = {
            (i, j): share
            for i, line in enumerate(self.lines)
            for j, point in enumerate(line.points)
            if (share := _ceiling(point)) is not None and share < 1
        }

    def draw(self, axes: Axes) -> None:
        colours, markers, dashes = _colours(self.series), _markers(self.series), _dashes(self.series)
        columns = min(MOST_COLUMNS, len(self.series.panels))
        axes.set_title(fitted(_title(self.key, self.series), columns, _TITLE), fontsize=_TITLE)
        place = _x_axis(axes, self.series)
        self._chance(axes)
        if self.series.view.x == "tested_n":
            for n in _trained(self.lines):
                axes.axvline(n, **_TRAINED)
        for i, line in enumerate(self.lines):
            shift = i - (len(self.lines) - 1) / 2
            xs = [place(point.x, shift) for point in line.points]
            colour = colours[line.color]
            _draw_line(axes, line, xs, colour, markers[line.color, line.label], dashes[line.label])
            for point in line.points:
                style.seed_dots(axes, [(place(point.x, shift + 0.4), run.accuracy) for run in point.runs])
            marks = [(x, self.ceilings[i, j]) for j, x in enumerate(xs) if (i, j) in self.ceilings]
            if marks:
                axes.plot(*zip(*marks, strict=True), color=colour, label="ceiling", **_CEILING)

    def _chance(self, axes: Axes) -> None:
        """Draw chance: a line along x if x decides it, else a level one for each of its values."""
        look: dict[str, Any] = {"color": style.GREY, "linestyle": (0, (5, 3)), "linewidth": 0.9, "zorder": 1}
        shares = {share for _, share in self.chances}
        if len(shares) > 1 and len({x for x, _ in self.chances}) == len(self.chances):
            axes.plot(*zip(*sorted(self.chances), strict=True), label="chance", **look)
            return
        for share in sorted(shares):
            axes.axhline(share, label="chance", **look)


def _draw_line(axes: Axes, line: Line, xs: list[float], colour: str, marker: str, dashes: Any) -> None:
    ys = [point.accuracy for point in line.points]
    axes.errorbar(xs, ys, yerr=style.interval(line.points), ecolor=colour, elinewidth=1.0, fmt="none")
    look = style.filled_marker(marker, colour) | {"linewidth": 1.2, "linestyle": dashes}
    axes.plot(xs, ys, label=f"{line.color} {line.label}".strip(), **look)


def _x_axis(axes: Axes, series: Series) -> Callable[[float, float], float]:
    """Set the scale of x; return a function that places a value on it, shifted by so many steps."""
    marked = _trained(series.lines) if series.view.x == "tested_n" else set[float]()
    xs = sorted({point.x for line in series.lines for point in line.points} | marked)
    if series.ticks:
        axes.set_xticks(range(len(series.ticks)), _short_sizes(series.ticks), rotation=25, ha="right")
        return lambda x, shift: x + shift * 2 * _SPREAD * max(1, len(series.ticks) - 1)
    log = xs[0] > 0 and xs[-1] / xs[0] >= 4
    scaled = [math.log2(x) if log else x for x in xs]
    width = (scaled[-1] - scaled[0]) or (scaled[0] or 1)
    ticks: list[float] = []
    last = -math.inf
    for x, place in zip(xs, scaled, strict=True):
        if place - last >= _TICKS * width:
            ticks.append(x)
            last = place
    if log:
        axes.set_xscale("log", base=2)
    if len(xs) == 1:
        axes.set_xlim(xs[0] - width / 2, xs[0] + width / 2)
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(lambda x, _: _short(x))
    if log:
        return lambda x, shift: x * 2 ** (shift * _SPREAD * width)
    return lambda x, shift: x + shift * _SPREAD * width


def _trained(lines: Sequence[Line]) -> set[float]:
    """The problem sizes of training."""
    return {float(run.row["n"]) for line in lines for point in line.points for run in point.runs}


def _short_sizes(sizes: Sequence[str]) -> list[str]:
    """Sizes without the changes that all of them share, such as `n_layers=1`."""
    parts = [size.split("+") for size in sizes]
    common = set.intersection(*map(set, parts)) if len(sizes) > 1 else set()
    short = ["+".join(part for part in each if part not in common) or each[0] for each in parts]
    return [style.size_name(size) for size in short]


def _short(x: float) -> str:
    """93,120 as `93.1k`, 4,096 and 0.003 as they are."""
    if x >= 1e6:
        return f"{x / 1e6:.3g}M"
    return f"{x / 1e3:.3g}k" if x >= 1e4 or (x >= 1e3 and x % 1e3 == 0) else f"{x:g}"


def _size_column(point: SeedMean) -> str:
    """The column with the problem size at which the accuracy was measured."""
    return "tested_n" if point.runs[0].row.get("tested_n") else "n"


def _n(point: SeedMean) -> int:
    run = point.runs[0]
    return count_in(run.identity.where, run.row, _size_column(point))


def _problem(point: SeedMean) -> tuple[str, str, str, str, int]:
    """What chance and ceilings depend on."""
    told = dict(point.runs[0].identity.settings)
    family = told.get("tested_on") or told.get("family", "")
    return told["task"], told["mode"], family, tested_options(told), _n(point)


@cache
def _task(name: str, mode: Mode, family: str, options: str, n: int) -> Task | None:
    """None if it cannot be loaded: a user's file that is not on this machine, or has changed."""
    try:
        return load_task(name)(TaskConfig(n=n, mode=mode, family=family, options=options))
    except (TaskError, UsageError, OSError):
        return None


def _bound(name: str, mode: str, family: str, options: str, n: int) -> Bound | None:
    task = _task(name, "direct", family, options, n) if name in BOUNDS else None
    try:
        return None if task is None else bound_of(task)
    except UsageError:  # a family without one
        return None


@cache
def _chance(name: str, mode: Any, family: str, options: str, n: int) -> float | None:
    """The accuracy of the best answer without the sequence; None for open answers, and if it is not known."""
    bound = _bound(name, mode, family, options, n)
    if bound is not None:
        return float(bound.ceiling(0))
    task = _task(name, mode, family, options, n)
    return None if task is None or task.open_answers else task.guess


def _ceiling(point: SeedMean) -> float | None:
    """The ceiling of readers that answer directly with this many bits of state; None if nothing is proved."""
    row = point.runs[0].row
    if row["mode"] != "direct" or not row.get("state_bits", "").isdecimal():
        return None
    bound = _bound(*_problem(point))
    return None if bound is None else float(bound.ceiling(int(row["state_bits"])))


def _colours(series: Series) -> dict[str, str]:
    values = series.colors
    if series.view.color == "arch":
        return style.colours(values)
    if len(values) <= MOST_PALETTE and not all(value.replace(".", "").isdecimal() for value in values):
        return style.palette(values)
    shades = colormaps["viridis"]
    return {value: to_hex(shades(0.85 * i / max(1, len(values) - 1))) for i, value in enumerate(values)}


def _markers(series: Series) -> dict[tuple[str, str], str]:
    """By colour and label: the label's mark; without a label the colour's, so that lines differ in more than colour."""
    alone = _alone(series)
    if series.view.color == "arch":
        marks = style.architecture_markers(series.colors)
    else:
        marks = {value: style.MARKS[i % len(style.MARKS)] for i, value in enumerate(series.colors)}
    left = [mark for mark in style.MARKS if mark not in {marks[color] for color in alone}] or style.MARKS
    pairs = {(line.color, line.label) for line in series.lines}
    labels = [label for label in series.labels if any(label == of and color not in alone for color, of in pairs)]
    of_label = {label: left[i % len(left)] for i, label in enumerate(labels)}
    return {(color, label): marks[color] if color in alone else of_label[label] for color, label in pairs}


def _dashes(series: Series) -> dict[str, Any]:
    """The line style of each label, so that lines of one colour can be told apart where they cross."""
    labels = [label for label in series.labels if label]
    return {"": _LINES[0]} | {label: _LINES[i % len(_LINES)] for i, label in enumerate(labels)}


def _alone(series: Series) -> set[str]:
    """Colours whose lines have no label: only the colour names them."""
    return set(series.colors) - {line.color for line in series.lines if line.label}


def _title(key: tuple[str, ...], series: Series) -> str:
    """The task, with those of its family, options and the panel's column that differ between panels."""
    columns = series.panel_columns
    trained = "trained at " if series.view.x == "tested_n" else ""
    several = [len({panel[i] for panel in series.panels}) > 1 for i in range(len(key))]
    words = [
        "" if (column, value) == ("family", "default") else trained * (column == "n") + name_in(column, value)
        for column, value, differs in zip(columns, key, several, strict=True)
        if differs
    ]
    first = style.name_of_task(key[0])
    rest = words[1:] if several[0] else words
    return "\n".join(filter(None, [first, ", ".join(filter(None, rest))]))


def _legend(series: Series, panels: Sequence[_Panel]) -> list[list[Line2D]]:
    colours, markers, dashes = _colours(series), _markers(series), _dashes(series)
    alone = _alone(series)
    looks: dict[str, dict[str, Any]] = {
        color: style.filled_marker(marker, colours[color]) if color in alone else {"color": colours[color]}
        for (color, _), marker in markers.items()
    }
    names = _color_names(series)
    keys = [
        Line2D([], [], linewidth=1.2 if value in alone else 3, label=names[value], **looks[value])
        for value in series.colors
    ]
    of_label = {label: marker for (color, label), marker in markers.items() if color not in alone}
    marks = [
        Line2D([], [], **style.filled_marker(of_label[label], style.GREY), linestyle=dashes[label], label=label)
        for label in series.labels
        if label and label in of_label
    ]
    others = [style.chance_key()] if any(panel.chances for panel in panels) else []
    if any(len(point.runs) > 1 for line in series.lines for point in line.points):
        others.append(style.seed_key())
    if series.view.x == "tested_n":
        others.append(Line2D([], [], label="problem size of training", **_TRAINED))
    if any(panel.ceilings for panel in panels):
        others.append(Line2D([], [], color=style.GREY, label="ceiling of its state bits", **_CEILING))
    return [keys, marks, others]


def _color_names(series: Series) -> dict[str, str]:
    """What a legend calls each colour: its value, with its architecture if that differs between colours but not within
    one."""
    color = series.view.color
    names = {value: name_in(color, value) or f"no {color.replace('_', ' ')}" for value in series.colors}
    archs: dict[str, set[str]] = defaultdict(set)
    for line in series.lines:
        archs[line.color] |= {run.row["arch"] for point in line.points for run in point.runs}
    several = len(set().union(*archs.values())) > 1
    if color == "arch" or not several or any(len(each) > 1 for each in archs.values()):
        return names
    return {value: f"{style.name_of(*archs[value])}, {name}" for value, name in names.items()}


def _told(differing: dict[str, list[str]]) -> str:
    """Such as `samples (32000, 64000)`; of many values only the first and the last."""
    named = {c: [value or "none" for value in v] for c, v in differing.items()}
    words = {c: v if len(v) <= 3 else [v[0], "...", v[-1]] for c, v in named.items()}
    return ", ".join(f"{column.replace('_', ' ')} ({', '.join(values)})" for column, values in words.items())


def _caption(series: Series, panels: Sequence[_Panel]) -> str:
    points = [point for line in series.lines for point in line.points]
    rows = [run.row for point in points for run in point.runs]
    hardware = sorted({row["hardware"] for row in rows if row.get("hardware")})
    tested = {int(row["eval_samples"]) for row in rows if row.get("eval_samples", "").isdecimal()}
    is_accuracy = series.view.y == "accuracy"
    unknown = sorted({panel.key[0] for panel in panels if not panel.chances}) if is_accuracy else []
    guesses = "; an undecided answer counts as a guess" if is_accuracy else ""
    parts = [
        f"Free decoding of {number_of(tested, 'held-out sample')}{guesses}." if tested else "",
        f"{number_of({len(point.runs) for point in points}, 'seed')} per point; error bars: 95 % Wilson interval"
        " (of several seeds: from the lowest to the highest end).",
        f"Hardware: {', '.join(hardware[:2])}{' and others' if len(hardware) > 2 else ''}." if hardware else "",
        f"Settings that differ: {_told(series.differing)}." if series.differing else "",
        f"Chance is unknown for {', '.join(unknown)}." if unknown else "",
        f"Marks repeat after {len(style.MARKS)}." if len(series.labels) > len(style.MARKS) else "",
        left_out(series.left_out),
    ]
    return " ".join(filter(None, parts))
