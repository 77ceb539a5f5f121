"""Text memories on streams: the score by step with the floors, and paired differences to one of the methods."""

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from retrieval_gap.machine.errors import UsageError
from retrieval_gap.text_memory.methods import UNBOUNDED

from . import style
from .caption import left_out
from .kept import spread
from .memories import METHODS, SCRIPTED, Memories, MemoryRow, hardware_of, looks_of, read_memories
from .page import page

DEFAULT_TABLE, read_table = SCRIPTED, read_memories
Looks = dict[str, tuple[str, str]]
Dashes = dict[str, Any]
_PANEL = 2.6  # inches of height
_FLOOR_DASHES = ((0, (1, 1.5)), (0, (4, 2)), (0, (4, 1.5, 1, 1.5)), (0, (6, 1)))


def draw_figure(memories: Memories) -> Figure:
    """Two panels for each benchmark, at the largest budget that all its methods were run with (if there is none, at the
    largest of each).  Raises UsageError for a table that has only parts of runs."""
    if all(row.part != "all" for row in memories.rows):
        raise UsageError(f"results table {memories.path} has no row of whole runs (part = all), so there is no score")
    shown = _at_one_budget(memories)
    groups = shown.groups()
    names = list(dict.fromkeys(row.name for group in groups for row in group.rows))
    floors = list(dict.fromkeys(row.name for group in groups for row in group.rows if row.is_floor))
    looks = looks_of([name for name in names if name not in floors])
    dashes: Dashes = {name: _FLOOR_DASHES[i % len(_FLOOR_DASHES)] for i, name in enumerate(floors)}
    keys = [Line2D([], [], color=c, marker=mark, markersize=4, label=name) for name, (c, mark) in looks.items()]
    keys += [Line2D([], [], color=style.GREY, linestyle=line, label=f"floor: {name}") for name, line in dashes.items()]
    figure = page("Text memories, step by step", [keys], _caption(shown), _PANEL * len(groups))
    grid = figure.subplots(len(groups), 2, squeeze=False, width_ratios=(3, 2))
    for group, (by_step, differences) in zip(groups, grid, strict=True):
        by_step.set_title(_title(group, with_model=len(shown.models) > 1))
        _draw_steps(by_step, group, looks, dashes)
        _draw_differences(differences, group, looks)
    return figure


def _at_one_budget(memories: Memories) -> Memories:
    kept: dict[tuple[object, ...], int] = {}
    for group in memories.groups():
        tried: dict[tuple[object, ...], set[int]] = {}
        for row in group.rows:
            if row.budget:
                tried.setdefault(_who(row), set()).add(row.budget)
        common = set[int].intersection(*tried.values()) if tried else set[int]()
        kept |= {who: max(common or budgets) for who, budgets in tried.items()}
    return memories.only(
        lambda row: row.budget == kept.get(_who(row), 0), "row", lambda row: f"{row.benchmark} at {row.budget} tokens"
    )


def _who(row: MemoryRow) -> tuple[object, ...]:
    return row.group, row.model, row.name


def _title(group: Memories, *, with_model: bool) -> str:
    budgets = {row.budget for row in group.rows if row.budget}
    told = group.rows[0].title + (f", {spread(budgets)} tokens" if budgets else "")
    return told + (f"\n{', '.join(group.models)}" if with_model else "")


def _draw_steps(axes: Axes, group: Memories, looks: Looks, dashes: Dashes) -> None:
    axes.set_xlabel("step")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylabel("score")
    for name in dict.fromkeys(row.name for row in group.rows):
        rows = [row for row in group.rows if row.name == name and row.part == "steps" and row.score is not None]
        places = [sum(row.steps) / 2 for row in rows]
        scores = [row.score for row in rows if row.score is not None]
        if name in dashes:
            axes.plot(places, scores, color=style.GREY, linestyle=dashes[name], linewidth=1.2, zorder=1)
        else:
            colour, mark = looks[name]
            axes.plot(places, scores, color=colour, marker=mark, markersize=3, linewidth=1.1)
    axes.grid(axis="y")


def _draw_differences(axes: Axes, group: Memories, looks: Looks) -> None:
    rows = [row for row in group.rows if row.part == "all" and row.difference is not None and not row.is_floor]
    for place, row in enumerate(reversed(rows)):
        _draw_difference(axes, place, row, looks[row.name])
    axes.set_yticks(range(len(rows)), [row.name for row in reversed(rows)])
    axes.axvline(0, color=style.GREY, linewidth=0.9)
    axes.set_ylim(-0.6, max(0.6, len(rows) - 0.4))
    against = next((row.against for row in rows), "")
    axes.set_xlabel(f"paired difference to {against.replace('_', '-')}" if rows else "no difference is in the table")
    axes.grid(axis="x")


def _draw_difference(axes: Axes, place: int, row: MemoryRow, look: tuple[str, str]) -> None:
    colour, mark = look
    assert row.difference is not None, "only those are drawn"
    if row.difference_interval is not None:
        axes.plot(row.difference_interval, (place, place), color=colour, linewidth=1.4)
    axes.plot(row.difference, place, **style.filled_marker(mark, colour))


def _alike(memories: Memories) -> str:
    """What all methods share, with the exceptions."""
    told = [row for row in memories.rows if not row.is_floor]
    feedbacks = sorted({word for row in told for word in row.variant.split(", ") if word.startswith("feedback: ")})
    whole = sorted({METHODS[row.method] for row in told if row.method in UNBOUNDED})
    return (
        f"All methods see the same fields and outcomes{', but for ' + ', '.join(feedbacks) if feedbacks else ''}, and "
        f"carry at most the tokens above their panel"
        f"{', but for ' + ', '.join(whole) + ' (what it shows is so long)' if whole else ''}."
    )


def _caption(memories: Memories) -> str:
    whole = [row for row in memories.rows if row.part == "all"]
    unreadable = sum(row.unreadable for row in whole)
    return (
        f"Model: {', '.join(memories.models) or 'none'}. {spread(row.streams for row in whole)} streams, "
        f"{spread(row.predictions for row in whole)} predictions per run; {unreadable} unreadable answers. Score: "
        "share right, or minus the mean absolute error. Error bars: 95 %, bootstrap over streams. Floors use no "
        "model, only the stream's own past. "
        f"{_alike(memories)} Hardware: {hardware_of(whole)}. {left_out(memories.left_out)}"
    )
