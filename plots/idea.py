"""The idea in one picture: a small IsTree problem, what is written in each view, and what a model carries.

No results table is needed: every token is the task's own, and arrows end where its searches find an edge.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch, Patch, Rectangle
from matplotlib.path import Path

from . import style
from .page import WIDTH, page
from .trace_lines import SearchLine, TraceView

N = 6
EDGES = ((5, 1), (4, 0), (4, 2), (3, 1), (4, 3))  # stars around 4 and 5, joined by 3 - 1
DIRECT, COT, RAG = TraceView(EDGES, N, "direct"), TraceView(EDGES, N, "cot"), TraceView(EDGES, N, "rag")
SEARCHES = 6  # rag's trace is shown up to the end of this search
ARROWS = (1, 5)  # these searches show where they find their edge

_TITLE = "One IsTree problem in three views: is the graph a tree?"
_CAPTION = (
    "“4 ~” asks for the father of node 4: [FAILED] says that 4 is new, and “4 ~ 0” then notes its father. "
    "Node 0 has none. Caches are to scale."
)
_SAID = {
    "direct": "The answer at once.",
    "cot": "A depth-first search; each next\nnode must come from memory.",
    "rag": "The same search; each step is\nlooked up in the context.",
}

Point = tuple[float, float]
Box = tuple[float, float, float]  # left, right, middle of the height

# Inches; y is measured from the figure's top downwards.
_PANELS = 4.64
_LEFT, _STRIP, _RIGHT = 0.11, 2.05, 8.6  # left ends of names and of strips of tokens; the arrow beside
_PROMPT, _DIRECT, _COT, _RAG, _CARRIED = 1.22, 2.09, 2.6, 3.24, 4.59  # middle of the first line
_LINE = 0.27
_HIGH, _PAD = 0.2, 0.065  # of a token's box
_GAP, _BESIDE_EDGE, _BESIDE_QUERY = 0.03, 0.11, 0.06  # between two boxes; added beside edges and queries
NODES: tuple[Point, ...] = ((0.30, 0.86), (1.46, 1.56), (0.30, 1.56), (1.20, 1.02), (0.66, 1.21), (1.76, 1.08))
_RADIUS = 0.12
_STATE, _CACHE = 0.4, 0.0175  # length of the state, and of the cache for each token
_AFTER = (2.05, 3.6, 5.05)

_TOKEN_SIZE, _NAME_SIZE, _SMALL = 8.0, 9.0, 7.5
_MONO, _CHARACTER = "DejaVu Sans Mono", 0.602 / 72  # inches of a character at font size 1
_FOUND = "#E69F00"  # of Okabe and Ito's colours, one that no built-in architecture has
FACES = {"given": style.tint(style.GREY, 0.2), "written": "white", "found": style.tint(_FOUND, 0.55)}
_KEYS = {"given": "given: the prompt", "written": "written by the model", "found": "added by the retriever"}


def draw_figure() -> Figure:
    """Rows from the top: graph and prompt, the three views, what a model carries."""
    keys = [Patch(label=label, linewidth=0.6, **_looks(kind)) for kind, label in _KEYS.items()]
    figure = page(_TITLE, [keys], _CAPTION, _PANELS)
    figure.set_layout_engine("none")  # everything has its place
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, WIDTH), ylim=(figure.get_figheight(), 0))
    axes.set_axis_off()
    _graph(axes)
    _words(axes, _STRIP, _PROMPT - 0.27, "The prompt: all edges, in random order", color=style.GREY)
    for view, y in ((DIRECT, _DIRECT), (COT, _COT), (RAG, _RAG)):
        _name(axes, view, y)
    for view, y in ((DIRECT, _DIRECT), (COT, _COT)):
        _strip(axes, view, range(len(view.prompt), len(view.words)), y)
    _arrows(axes, _strip(axes, RAG, RAG.prompt, _PROMPT) | _searches(axes))
    _carried(axes)
    return figure


def _graph(axes: Axes) -> None:
    """The problem; the edges that an arrow points to are marked."""
    found = [_ends(RAG.search(number)) for number in ARROWS]
    for u, v in EDGES:
        line = list(zip(NODES[u], NODES[v], strict=True))
        if {u, v} in found:
            axes.plot(*line, color=_FOUND, linewidth=5, alpha=0.6, zorder=1)
        axes.plot(*line, color=style.INK, linewidth=1.1, zorder=2)
    for node, place in enumerate(NODES):
        axes.add_patch(Circle(place, _RADIUS, facecolor="white", edgecolor=style.INK, linewidth=1.1, zorder=3))
        _words(axes, *place, str(node), ha="center", fontsize=_NAME_SIZE)


def _ends(search: SearchLine) -> set[int]:
    first, _, second = (RAG.words[t] for t in search.edge)
    return {int(first), int(second)}


def _name(axes: Axes, view: TraceView, y: float) -> None:
    """A view's name, what it means, and a sentence below."""
    _words(axes, _LEFT, y, view.mode, family=_MONO, fontsize=_NAME_SIZE, fontweight="bold")
    after = _LEFT + (len(view.mode) + 1) * _NAME_SIZE * _CHARACTER
    _words(axes, after, y, style.VIEWS[view.mode], fontsize=_NAME_SIZE)
    _words(axes, _LEFT, y + 0.13, _SAID[view.mode], va="top", color=style.GREY, linespacing=1.3)


def _searches(axes: Axes) -> dict[int, Box]:
    """The first lines of rag's trace, how much is left out, and its end."""
    places: dict[int, Box] = {}
    y = _RAG
    for index, line in enumerate(RAG.lines(SEARCHES)):
        y = _RAG + index * _LINE
        places |= _strip(axes, RAG, line, y)
    end = range(len(RAG.words) - 2, len(RAG.words))
    right = places[RAG.results[SEARCHES - 1]][1]
    left_out = end.start - RAG.results[SEARCHES - 1] - 1
    _words(axes, right + 0.13, y, f"… {left_out} more tokens …", color=style.GREY)
    return places | _strip(axes, RAG, end, y, x=right + 1.47)


def _strip(axes: Axes, view: TraceView, places: Iterable[int], y: float, x: float = _STRIP) -> dict[int, Box]:
    """Draw tokens from x on; return the box of each.  Edges and queries are a little apart."""
    boxes = {}
    for t in places:
        if t in view.prompt and t % 3 == 1:
            x += _BESIDE_EDGE
        elif view.begins_query(t) or view.ends_query(t):
            x += _BESIDE_QUERY
        width = len(view.words[t]) * _TOKEN_SIZE * _CHARACTER + 2 * _PAD
        boxes[t] = (x, x + width, y)
        _token(axes, view, t, boxes[t])
        x += width + _GAP
    return boxes


def _token(axes: Axes, view: TraceView, t: int, box: Box) -> None:
    kind = "given" if t in view.prompt else "written" if view.written[t] else "found"
    axes.add_patch(_rounded(box, _HIGH, linewidth=0.6, **_looks(kind)))
    bracket = view.begins_query(t + 1) or view.ends_query(t)
    looks = {"family": _MONO, "fontsize": _TOKEN_SIZE, "color": style.GREY if bracket else style.INK}
    _words(axes, (box[0] + box[1]) / 2, box[2], view.words[t], ha="center", label=view.mode, **looks)


def _looks(kind: str) -> dict[str, Any]:
    return {"facecolor": FACES[kind], "edgecolor": _FOUND if kind == "found" else style.GREY}


def _arrows(axes: Axes, places: dict[int, Box]) -> None:
    """From a query to the edge that it finds: the first straight up, the second round the other tokens."""
    first, second = (RAG.search(number) for number in ARROWS)
    level = _PROMPT + 0.27
    for search, across, y in ((first, None, level + 0.2), (second, _RIGHT, level)):
        query, edge = (_framed(axes, places, part) for part in (search.query, search.edge))
        start, below = (query[0] + query[1]) / 2, query[2] + _HIGH / 2 + 0.04
        if across is None:
            across = start
            way = [(start, query[2] - _HIGH / 2 - 0.04)]
        else:
            way = [(start, below), (start, below + 0.1), (across, below + 0.1)]
        target = (edge[0] + edge[1]) / 2
        axes.add_patch(_arrow([*way, (across, y), (target, y), (target, edge[2] + _HIGH / 2 + 0.05)]))
        _words(axes, across - 0.1, y + 0.1, _meaning(search), ha="right", color=style.GREY)


def _meaning(search: SearchLine) -> str:
    query = [RAG.words[t] for t in search.query]
    v, after = query[0], query[2:]
    asked = f"the edge of {v} after its edge to {after[0]}" if after else f"the first edge of {v}"
    return f"“{' '.join(query)}”: {asked}"


def _framed(axes: Axes, places: dict[int, Box], tokens: Sequence[int]) -> Box:
    """Draw a frame around neighbouring tokens; return their common box."""
    left, right, y = places[tokens[0]][0], places[tokens[-1]][1], places[tokens[0]][2]
    frame = _rounded((left - 0.035, right + 0.035, y), _HIGH + 0.07, facecolor="none", edgecolor=_FOUND)
    frame.set(linewidth=1.4, zorder=3)
    axes.add_patch(frame)
    return left, right, y


def _arrow(corners: Sequence[Point]) -> FancyArrowPatch:
    """A path of right angles with round corners."""
    points, codes = [corners[0]], [Path.MOVETO]
    for before, corner, after in zip(corners, corners[1:], corners[2:], strict=False):
        points += [_beside(corner, before), corner, _beside(corner, after)]
        codes += [Path.LINETO, Path.CURVE3, Path.CURVE3]
    path = Path([*points, corners[-1]], [*codes, Path.LINETO])
    return FancyArrowPatch(path=path, arrowstyle="-|>", mutation_scale=9, color=_FOUND, linewidth=1.4, zorder=3)


def _beside(corner: Point, other: Point) -> Point:
    """A point near `corner` on the way to `other`, which is straight across or straight above or below."""
    (x, y), (to_x, to_y) = corner, other
    share = 0.07 / (abs(to_x - x) + abs(to_y - y))
    return x + share * (to_x - x), y + share * (to_y - y)


def _carried(axes: Axes) -> None:
    """What a model has at hand at the end of the prompt and of two views; caches are to scale."""
    colours = style.colours(("mamba", "transformer"))
    state, cache = colours["mamba"], colours["transformer"]
    axes.plot([_LEFT, WIDTH - _LEFT], [_CARRIED - 0.2] * 2, color=style.FAINT, linewidth=0.8)
    _words(axes, _LEFT, _CARRIED, "What a model carries", fontsize=_NAME_SIZE, fontweight="bold")
    first, second = _CARRIED + 0.25, _CARRIED + 0.52
    _words(axes, _LEFT, first, "Recurrent: state of fixed size", color=state)
    _words(axes, _LEFT, second, "Transformer: cache that grows", color=cache)
    lengths = {"the prompt": len(RAG.prompt), "cot": len(COT.words), "rag": len(RAG.words)}
    for x, (what, tokens) in zip(_AFTER, lengths.items(), strict=True):
        _words(axes, x, _CARRIED, f"after {what}: {tokens} tokens")
        for colour, width, y in ((state, _STATE, first), (cache, tokens * _CACHE, second)):
            bar = Rectangle((x, y - _HIGH / 2), width, _HIGH, linewidth=0.8)
            bar.set(facecolor=style.tint(colour, 0.4), edgecolor=colour)
            axes.add_patch(bar)


def _rounded(box: Box, height: float, **looks: Any) -> FancyBboxPatch:
    left, right, y = box
    corner = "round,pad=0,rounding_size=0.04"
    return FancyBboxPatch((left, y - height / 2), right - left, height, boxstyle=corner, **looks)


def _words(axes: Axes, x: float, y: float, words: str, **looks: Any) -> None:
    axes.text(x, y, words, **(dict[str, Any](va="center_baseline", fontsize=_SMALL, zorder=4) | looks))
