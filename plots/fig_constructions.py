"""Bits of state against n: the least that any reader without a search needs, and what constructed weights use.

The picture of the whole paper: a reader that answers directly needs bits in proportion to n; a Transformer's cache has
n log n of them; a recurrence that searches, or that has one attention layer above it, has log n.
"""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from retrieval_gap.about import in_order

from . import style
from .caption import left_out
from .constructions import CONSTRUCTIONS, TRAINED, WANTED, ConstructionTable, least_state, read_table
from .page import page

DEFAULT_TABLE = CONSTRUCTIONS
__all__ = ["DEFAULT_TABLE", "draw_figure", "read_table"]
TASKS = {
    "index": "Index",
    "associative_recall": "Associative recall",
    "cgram_retrieval": "c-gram retrieval",
    "counting": "Counting",
    "istree": "IsTree",
}
# By the name of each kind: values of the table's `how`, the column, a colour, a mark.
KINDS: dict[str, tuple[tuple[str, ...], str, str, str]] = {
    "Transformer: its cache": (("transformer", "transformer_cot"), "state_bits", "#0072B2", "s"),
    "hybrid: its recurrent layers": (("hybrid", "hybrid_cot"), "recurrent_bits", "#009E73", "D"),
    "RNN that searches": (("rnn_rag",), "state_bits", "#D55E00", "o"),
}
_BOUND: dict[str, Any] = {"color": style.INK, "linewidth": 1.3, "linestyle": (0, (4, 2))}


def draw_figure(table: ConstructionTable) -> Figure:
    """A panel for each task of the table.  Raises UsageError for a table without an exact construction of any."""
    table = table.drawn({task: [way for ways, *_ in KINDS.values() for way in ways] for task in TASKS})
    tasks = [task for task in TASKS if table.of(task)]
    looks = _trained_looks({model.arch for task in tasks for model in table.reached(table.of(task)[0])})
    figure = page("Bits of state against problem size", [_keys(), _trained_keys(looks)], _caption(table), 5.6)
    grid = figure.subplots(2, 3, squeeze=False, sharex=True, sharey=True)
    for axes, task in zip(grid.flat, tasks, strict=False):
        _panel(axes, table, task, looks)
    for axes in grid.flat[len(tasks) :]:
        axes.set_axis_off()
    for row in grid:
        row[0].set_ylabel("bits of state")
    for k, task in enumerate(tasks):
        if k + 3 >= len(tasks):
            grid.flat[k].set_xlabel("n" + (" (nodes)" if task == "istree" else " (tokens)"))
            grid.flat[k].tick_params(labelbottom=True)
    return figure


def _panel(axes: Axes, table: ConstructionTable, task: str, looks: dict[str, dict[str, Any]]) -> None:
    rows = table.of(task)
    options = f" ({rows[0].options})" if rows[0].options else ""
    axes.set_title(TASKS[task] + options)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.grid(axis="both")
    ns = sorted({row.n for row in rows})
    bound = least_state(rows[0], ns)
    axes.plot(ns, bound, label="bound", **_BOUND)
    axes.fill_between(ns, np.ones(len(ns)), bound, color=style.FAINT, linewidth=0, zorder=0)
    for name, (ways, column, colour, mark) in KINDS.items():
        points = sorted((row.n, getattr(row, column)) for row in rows if row.how in ways)
        if points:
            size = {"markersize": 7.5} if column == "recurrent_bits" else {}  # seen below other marks
            axes.plot(*zip(*points, strict=True), label=name, linewidth=1.4, **style.filled_marker(mark, colour) | size)
    for model in table.reached(rows[0]):
        hollow = dict(looks[model.arch])
        if model.mode == "rag":
            hollow["markerfacecolor"] = style.tint(hollow["markeredgecolor"], 0.35)
        axes.plot([model.n], [model.state_bits], label=f"trained {model.arch}", zorder=5, **hollow)
    axes.set_ylim(10, 2e7)
    axes.set_xticks([2**k for k in range(4, 11, 2)], [str(2**k) for k in range(4, 11, 2)])
    axes.minorticks_off()


def _keys() -> list[Line2D | Patch]:
    lines: list[Line2D | Patch] = [
        Line2D([], [], label=name, linewidth=1.4, **style.filled_marker(mark, colour))
        for name, (_, _, colour, mark) in KINDS.items()
    ]
    shaded = Patch(facecolor=style.FAINT, edgecolor=style.INK, linestyle="--", label="no reader without a search")
    return [*lines, shaded]


def _trained_keys(looks: dict[str, dict[str, Any]]) -> list[Line2D]:
    return [Line2D([], [], label=f"trained {style.name_of(arch)}", **look) for arch, look in looks.items()]


def _trained_looks(architectures: set[str]) -> dict[str, dict[str, Any]]:
    """Hollow marks, with the colours and shapes that architectures have in every figure."""
    trained = in_order(architectures)
    colours, marks = style.colours(trained), style.architecture_markers(trained)
    return {arch: style.open_marker(marks[arch], colours[arch]) for arch in trained}


def _caption(table: ConstructionTable) -> str:
    samples = {row.samples for row in table.rows}
    trained = ", ".join(path.stem for path in TRAINED)
    return (
        "Lines with marks: constructed weights, not trained. Each is exact (accuracy and exact traces of 1, "
        f"{min(samples)} to {max(samples)} test samples per point) at the precision that its proof states. Below the "
        f"dashed line no model without searches reaches an accuracy of {WANTED:g}, whatever its weights or chain of "
        "thought; for IsTree this is proved for a state that is this small after every edge. A hybrid also has the "
        f"cache of one attention layer. Hollow marks: trained models of {trained}, at the largest n that they answer "
        f"with {WANTED:g} or more (mean over seeds), with the smallest state; tinted: with retrieval. "
        f"{left_out(table.left_out)}"
    )
