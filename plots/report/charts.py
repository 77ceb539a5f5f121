"""Vega-Lite specifications of a panel; the page's script inserts the rows, and draws one for each problem and view.

Text is `currentColor`, so that the page's light or dark ink colours it.  Architectures have a colour and a mark each.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from retrieval_gap.about import in_order
from retrieval_gap.tables.identity import IDENTITY, Setting, identity_of, longest
from retrieval_gap.tables.rows import Row

from .. import style

_MARKS = ("circle", "square", "triangle-up", "diamond", "triangle-down", "cross", "triangle-right")
_CONFIG: dict[str, Any] = {
    "background": None,
    "font": "system-ui, sans-serif",
    "view": {"stroke": None},
    "axis": {
        "labelColor": "currentColor", "titleColor": "currentColor", "domainColor": "currentColor",
        "tickColor": "currentColor", "gridColor": "currentColor", "gridOpacity": 0.15, "titleFontWeight": "normal",
        "labelFontSize": 12, "titleFontSize": 12,
    },
}  # fmt: skip
# The page fills in both scales from `legend` (`marks` identifies the marks), and the order of models.
_COLOUR: dict[str, Any] = {"field": "arch", "type": "nominal", "legend": None, "scale": {"domain": [], "range": []}}
_MARK: dict[str, Any] = {
    "field": "arch",
    "type": "nominal",
    "legend": None,
    "marks": True,
    "scale": {"domain": [], "range": []},
}
# Sizes of models: the page numbers them, the smallest 0.
_RANKS = [0, 1, 2, 3]
_SIZE: dict[str, Any] = {
    "field": "rank",
    "type": "ordinal",
    "legend": None,
    "scale": {"domain": _RANKS, "range": [28, 60, 105, 160]},
}
_DASH: dict[str, Any] = {
    "field": "rank",
    "type": "ordinal",
    "legend": None,
    "scale": {"domain": _RANKS, "range": [[1, 0], [7, 3], [3, 2], [1, 2]]},
}
_TOOLTIP = [
    {"field": "model", "title": "model"}, {"field": "n", "title": "n"}, {"field": "seed", "title": "seed"},
    {"field": "accuracy", "title": "accuracy", "format": ".3f"},
    {"field": "chance", "title": "chance", "format": ".3f"},
    {"field": "accuracy_low", "title": "95 % from", "format": ".3f"},
    {"field": "accuracy_high", "title": "to", "format": ".3f"},
    {"field": "exact_trace", "title": "exact trace", "format": ".3f"},
    {"field": "samples", "title": "trained on", "format": ","},
    {"field": "lr", "title": "learning rate"},
    {"field": "eval_samples", "title": "evaluated on", "format": ","},
    {"field": "hardware", "title": "hardware"},
]  # fmt: skip
_PLACE = {
    "x": {"field": "n", "type": "ordinal", "axis": {"labelAngle": 0, "title": "n"}},
    "xOffset": {"field": "model", "type": "nominal", "sort": []},
}
_SHARE: dict[str, Any] = {
    "type": "quantitative",
    "scale": {"domain": [{"expr": "lowest"}, 1]},
    "axis": {"title": "accuracy", "tickCount": 5},
}

ACCURACY: dict[str, Any] = {
    "width": "container",
    "height": 210,
    "autosize": {"type": "fit-x", "contains": "padding"},
    "params": [{"name": "lowest", "value": 0}],
    "data": {"values": []},
    "config": _CONFIG,
    "encoding": _PLACE,
    "layer": [
        {
            "mark": {"type": "tick", "orient": "horizontal", "thickness": 1.5, "size": 10, "opacity": 0.6},
            "encoding": {"y": {"field": "chance", **_SHARE}, "color": {"value": "currentColor"}},
        },
        {
            "mark": {"type": "line", "strokeWidth": 1.2, "opacity": 0.5},
            "transform": [{"filter": "datum.line !== null"}],
            "encoding": {
                "y": {"aggregate": "mean", "field": "accuracy", **_SHARE},
                "detail": [{"field": "model"}, {"field": "line"}],
                "strokeDash": _DASH,
                "color": _COLOUR,
            },
        },
        {
            "mark": {"type": "rule", "strokeWidth": 1.5, "opacity": 0.7},
            "encoding": {
                "y": {"field": "accuracy_low", **_SHARE},
                "y2": {"field": "accuracy_high"},
                "color": _COLOUR,
            },
        },
        {
            "mark": {"type": "point", "filled": True, "opacity": 0.9},
            "encoding": {
                "y": {"field": "accuracy", **_SHARE},
                "size": _SIZE,
                "color": _COLOUR,
                "shape": _MARK,
                "tooltip": _TOOLTIP,
            },
        },
    ],
}
_CURVE: dict[str, Any] = {
    "width": "container",
    "height": 210,
    "autosize": {"type": "fit-x", "contains": "padding"},
    "data": {"values": []},
    "config": _CONFIG,
    "encoding": {
        "x": {
            "field": "samples", "type": "quantitative", "scale": {"type": "log", "nice": False},
            "axis": {"format": "~s", "tickCount": 4, "title": "samples trained on"},
        },
        "color": _COLOUR,
        "strokeDash": _DASH,
        "detail": {"field": "i", "type": "nominal"},
    },
    "layer": [
        {"mark": {"type": "line", "strokeWidth": 1.6, "opacity": 0.9}},
        {
            "mark": {"type": "point", "filled": True, "size": 14},
            "encoding": {
                "shape": _MARK,
                "tooltip": [
                    {"field": "model"}, {"field": "n"}, {"field": "seed"}, {"field": "lr", "title": "learning rate"},
                    {"field": "samples", "format": ","}, {"field": "value", "format": ".4f"},
                ],
            },
        },
    ],
}  # fmt: skip


def _curve(title: str, scale: dict[str, Any], form: str) -> dict[str, Any]:
    axis = {"tickCount": 4, "format": form, "title": title}
    y = {"field": "value", "type": "quantitative", "scale": scale, "axis": axis}
    return _CURVE | {"encoding": _CURVE["encoding"] | {"y": y}}


CURVE = _curve("loss (nats a token)", {"type": "log", "nice": False}, "~g")
LEARNED = _curve("accuracy on validation samples", {"domainMax": 1, "zero": False}, ".2f")


def lines(rows: Sequence[Row]) -> list[str | None]:
    """What distinguishes each row's line from others of its problem, view and model, so that a line averages only over
    seeds: its split, and other settings in which the longest-trained runs of one n differ.  None: the row is on no
    line, since runs of its cell were trained longer."""
    cells: dict[Setting, list[int]] = defaultdict(list)
    for i, row in enumerate(rows):
        cells[identity_of("", row).setting].append(i)
    told: list[str | None] = [None] * len(rows)
    kept = {cell: longest(some, lambda i: rows[i]["samples"] or 0) for cell, some in cells.items()}
    differing: dict[Setting, set[str]] = defaultdict(lambda: {"eval_split"})
    for cell, some in kept.items():
        differing[cell._replace(n=0)] |= {c for c in IDENTITY if len({rows[i][c] for i in some}) > 1}
    for cell, some in kept.items():
        for i in some:
            told[i] = " ".join(f"{column}={rows[i][column]}" for column in sorted(differing[cell._replace(n=0)]))
    return told


def legend(rows: Sequence[Row]) -> list[dict[str, str]]:
    """Every architecture with its name, colour and mark."""
    architectures = in_order(row["arch"] for row in rows)
    colours = style.colours(architectures)
    return [
        {
            "arch": arch,
            "name": style.name_of(arch),
            "colour": colours[arch].replace("#000000", "currentColor"),  # visible on a dark page too
            "mark": _MARKS[i % len(_MARKS)],
        }
        for i, arch in enumerate(architectures)
    ]
