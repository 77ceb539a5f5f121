"""Tokens that constructions write: against n for IsTree, against the machine's time for Turing machines."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from . import style
from .caption import left_out
from .constructions import CONSTRUCTIONS, ConstructionTable, read_table
from .page import page

DEFAULT_TABLE = CONSTRUCTIONS
__all__ = ["DEFAULT_TABLE", "draw_figure", "read_table"]
# how: name, colour, mark.
WAYS = {
    "transformer_cot": ("Transformer, chain of thought (4.7)", "#0072B2", "s"),
    "hybrid_cot": ("hybrid, chain of thought (5.7)", "#009E73", "D"),
    "rnn_rag": ("RNN that searches (5.3)", "#D55E00", "o"),
}
MACHINE_WAYS = {
    "hybrid": ("hybrid (5.8): a token a step", "#009E73", "D"),
    "rnn_rag": ("RNN that searches (5.4): ten tokens a step", "#D55E00", "o"),
}
_GUIDE: dict[str, Any] = {"color": style.GREY, "linewidth": 1.0}


def draw_figure(table: ConstructionTable) -> Figure:
    """Two panels.  Raises UsageError for a table without an exact construction of either."""
    table = table.drawn({"istree": WAYS, "turing": MACHINE_WAYS})
    figure = page("Tokens written against problem size and time", [], _caption(table), 3.5)
    left, right = figure.subplots(1, 2)
    _istree(left, table)
    _machines(right, table)
    for axes in (left, right):
        axes.set_yscale("log")
        axes.grid(axis="both")
        if axes.lines:
            axes.legend(loc="upper left", fontsize=8, handlelength=2.2)
    return figure


def _istree(axes: Axes, table: ConstructionTable) -> None:
    axes.set_title("IsTree, two-star graphs")
    axes.set_xscale("log", base=2)
    rows = table.of("istree")
    ns = np.array(sorted({row.n for row in rows}), float)
    for how, (name, colour, mark) in reversed(WAYS.items()):
        points = sorted((row.n, row.steps) for row in rows if row.how == how)
        if points:
            axes.plot(*zip(*points, strict=True), label=name, linewidth=1.4, **style.filled_marker(mark, colour))
    if len(ns):
        axes.plot(ns, ns * np.log2(ns), linestyle=(0, (4, 2)), label="n log2 n (5.2)", **_GUIDE)
        axes.plot(ns, ns, linestyle=":", label="n", **_GUIDE)
        axes.set_xticks(ns, [f"{n:g}" for n in ns])
        axes.set_ylim(ns[0] / 1.6, 9e4)
    axes.minorticks_off()
    axes.set_xlabel("n (nodes)")
    axes.set_ylabel("tokens written, mean")


def _machines(axes: Axes, table: ConstructionTable) -> None:
    axes.set_title("Turing machines")
    axes.set_xscale("log")
    rows = [row for row in table.rows if row.machine_steps]
    for how, (name, colour, mark) in reversed(MACHINE_WAYS.items()):
        points = sorted((row.machine_steps, row.context_tokens) for row in rows if row.how == how)
        if points:
            axes.plot(*zip(*points, strict=True), label=name, linestyle="none", **style.filled_marker(mark, colour))
    if rows:
        times = np.array([min(row.machine_steps for row in rows), max(row.machine_steps for row in rows)], float)
        axes.plot(times, times, linestyle=":", label="time", **_GUIDE)
        axes.set_ylim(times[0] / 1.6, 4e4)
    axes.set_xlabel("time of the machine (steps)")
    axes.set_ylabel("tokens of the whole context")


def _caption(table: ConstructionTable) -> str:
    machines = sorted({row.family.replace("_", " ") for row in table.rows if row.machine_steps})
    graphs = [row.samples for row in table.of("istree")] or [0]
    return (
        f"Free decoding; every trace is exact. Means over {max(graphs)} graphs at the smallest n and {min(graphs)} at "
        "the largest: trees (long traces) and other graphs (short ones). Theorem 5.2 needs n log n steps for IsTree. "
        "Theorem 5.3's search (the task's rag view, token for token) and both chains of thought need O(n). "
        f"Machines: {', '.join(machines)}, on words of several lengths. "
        f"{left_out(table.left_out)}"
    )
