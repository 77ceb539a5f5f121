"""Recall by a memory in words against its budget in bits, below the ceiling of any reader."""

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from retrieval_gap.text_memory.methods import UNBOUNDED

from . import style
from .caption import left_out
from .kept import spread
from .memories import SCRIPTED, Memories, MemoryRow, hardware_of, looks_of, read_memories
from .page import line_of_panels, page

DEFAULT_TABLE, read_table = SCRIPTED, read_memories
_CEILING, _DOTTED = (0, (5, 2)), (0, (1, 1.5))


def draw_figure(memories: Memories) -> Figure:
    """A panel for each model and each number of facts.  Raises UsageError for a table without runs of recall,
    or without any whose bits are known."""
    recall = _with_known_bits(memories.only(lambda row: not _why_not(row), "row of recall", _why_not))
    names = list(dict.fromkeys(row.name for row in recall.rows))
    looks = looks_of(names)
    keys = [Line2D([], [], color=c, marker=mark, markersize=4, label=name) for name, (c, mark) in looks.items()]
    keys += [Line2D([], [], color=style.INK, linestyle=_CEILING, label="ceiling: no reader is above")]
    figure = page("Recall by a memory in words", [keys], _caption(recall), 3.4)
    parts = recall.groups()
    titles = [f"{part.rows[0].model}\n{part.rows[0].title}" for part in parts]
    panels = line_of_panels(figure, titles, x="bits of the budget: tokens x log2 of the vocabulary", y="accuracy")
    for part, axes in zip(parts, panels, strict=True):
        _draw_panel(axes, part, looks)
    return figure


def _why_not(row: MemoryRow) -> str:
    """Why a row is not drawn; "" if it is."""
    if row.benchmark != "recall":
        return f"benchmark {row.benchmark}"
    if row.is_floor:
        return "floors"
    if row.part != "all":
        return "single steps"
    return "runs without a score" if row.score is None else ""


def _with_known_bits(recall: Memories) -> Memories:
    """Leave out rows with a budget of tokens whose bits are not known: they have no place on the axis.  Methods that
    carry the whole log are at the bits of what they show, which follow from other rows of the panel."""
    known = {(row.group, row.model) for row in recall.rows if row.state_bits and row.budget}

    def has_place(row: MemoryRow) -> bool:
        shows = row.method in UNBOUNDED and (row.group, row.model) in known
        return bool(not row.budget or row.state_bits or shows)

    return recall.only(has_place, "row of recall with known bits", lambda row: "recall in unknown bits")


def _draw_panel(axes: Axes, part: Memories, looks: dict[str, tuple[str, str]]) -> None:
    bounded = [row for row in part.rows if row.state_bits]
    bits_per_token = next(((row.state_bits or 0.0) / row.budget for row in bounded if row.budget), 0.0)
    for name, (colour, mark) in looks.items():
        rows = sorted((row for row in part.rows if row.name == name), key=lambda row: row.budget)
        carried = [row for row in rows if row.state_bits]
        shown = [row for row in rows if not row.state_bits and row.budget and bits_per_token]
        _draw_curve(axes, [(row.state_bits or 0.0, row) for row in carried], colour, mark)
        _draw_curve(axes, [(row.budget * bits_per_token, row) for row in shown], colour, mark, _DOTTED)
        for row in rows:
            if row not in (*carried, *shown):
                axes.axhline(row.score or 0.0, color=colour, linewidth=1.1, linestyle=_DOTTED)
    ceilings = sorted({(row.state_bits or 0.0, row.ceiling) for row in bounded if row.ceiling is not None})
    axes.plot(
        *zip(*ceilings, strict=True) if ceilings else ((), ()), color=style.INK, linestyle=_CEILING, linewidth=1.3
    )
    if bounded:
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter(lambda bits, _: f"{bits:,.0f}")
    else:  # only lines, which have no place on the axis
        axes.set_xticks([])
    axes.set_ylim(0, 1.03)
    axes.grid(axis="both")


def _draw_curve(axes: Axes, points: list[tuple[float, MemoryRow]], colour: str, mark: str, line: Any = "solid") -> None:
    places, scores = [place for place, _ in points], [row.score or 0.0 for _, row in points]
    axes.plot(places, scores, color=colour, linewidth=1.2, linestyle=line)
    for place, row in points:
        axes.plot(place, row.score or 0.0, **style.filled_marker(mark, colour))
        if row.interval is not None:
            axes.vlines(place, *row.interval, color=colour, linewidth=0.8)


def _caption(recall: Memories) -> str:
    return (
        f"One fact per step, then one question about each; {spread(row.streams for row in recall.rows)} streams, "
        f"{spread(row.predictions for row in recall.rows)} questions per run. The budget holds at every step. Dotted: "
        "methods that carry nothing (zero-shot, no update: no place on the axis) or the whole log (search: at the bits "
        "that it shows). Error bars: 95 %, bootstrap over streams. The ceiling is that of n independent values "
        f"(docs/theory.md, section 3). Hardware: {hardware_of(recall.rows)}. {left_out(recall.left_out)}"
    )
