"""HotpotQA: accuracy by the number of paragraphs shown, after the HotpotQA figure of "RNNs are not Transformers (Yet)"
(Wen, Dang, Lyu, ICLR 2025).

Columns: gold paragraphs in random places and last, as in the paper; then only one thing grows with n: candidates
(length_matched) or distance.  Rows: our small models in each view, on made-up worlds unless the table has real
questions; below them pretrained models on real questions, beside the published values.
"""

from collections import defaultdict
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from retrieval_gap.about import in_order
from retrieval_gap.machine.errors import UsageError
from retrieval_gap.statistics.intervals import wilson_interval
from retrieval_gap.tables.identity import Identity, identity_of
from retrieval_gap.tables.values import option_values

from . import style
from .caption import hardware, left_out, of_split
from .kept import counted, number_of, spread
from .page import page
from .results import RESULTS, count_in, read_rows, share_in
from .seeds import Seeds

DEFAULT_TABLE = RESULTS / "hotpotqa_demo_transfer.csv"
PRETRAINED, PUBLISHED = RESULTS / "hotpotqa_pretrained.csv", RESULTS / "published_hotpotqa.csv"
# (order, variant) of each column.
PANELS = {
    ("random", "plain"): "Gold in random places",
    ("last", "plain"): "Gold last",
    ("random", "length_matched"): "Only candidates grow",
    ("random", "distance"): "Only distance grows",
}
_VIEWS = tuple(style.VIEWS)
# The rows of small models: answers in each view, and evidence where a trace holds it.
_ROWS = ("direct", "cot", "cot evidence", "rag", "rag evidence")
_BARE = 5  # questions: an interval of fewer is nearly the whole axis, and is not drawn
_FEW = 30  # questions: points of fewer are not joined, since a line would show their noise
_NS = (2, 4, 6, 8)
_METHODS = {"cot": "o", "regex": "s", "bm25": "^"}
_ROW_HEIGHT = 1.75  # inches
_REQUEST = (
    "max_tokens",
    "top_k",
    "data_sha256",
    "exemplars",
)  # of a pretrained model; its rows at one point agree in these
_WIDEST = 0.9  # paragraphs from the first line to the last, if they are many
_SPREAD = 0.16  # paragraphs between neighbouring lines, so that intervals do not hide each other


@dataclass(frozen=True, kw_only=True)
class Answered:
    """A share at one n, in one column.  name: the architecture, or the pretrained model; way: the row or method."""

    name: str
    way: str
    panel: tuple[str, str]
    n: int
    accuracy: float
    low: float
    high: float
    questions: int
    identity: Identity
    seed: int = 0
    selected: bool = False
    hardware: str = ""


@dataclass(frozen=True)
class Tables:
    """Small models of one table; pretrained models and published values, if their tables exist."""

    small: list[Answered]
    pretrained: list[Answered]
    published: list[Answered]
    samples: int
    real: bool
    left_out: tuple[str, ...]


def read_table(path: Path) -> Tables:
    """Raises UsageError for a table that is invalid, or has no row of hotpotqa."""
    columns = ("task", "mode", "arch", "tested_n", "tested_options", "seed", "samples", "eval_samples", "hardware")
    every = read_rows(path, (*columns, "accuracy", "accuracy_low", "accuracy_high"))
    rows = [(where, row) for where, row in every if row["task"] == "hotpotqa"]
    small, others = _placed([_small(where, row) for where, row in rows], _VIEWS)
    evidence, _ = _placed([_evidence(where, row) for where, row in rows if row.get("exact_trace")], _ROWS)
    if not small:
        raise UsageError(f"results table {path} has no row with task=hotpotqa; `make hotpotqa-demo` makes one")
    pretrained, more = _pretrained()
    return Tables(
        small=[*small, *evidence],
        pretrained=pretrained,
        published=_published(),
        samples=max(count_in(where, row, "samples") for where, row in rows),
        real=any(_option(row, "data") for _, row in rows),
        left_out=(*counted(f"task {row['task']}" for _, row in every if row["task"] != "hotpotqa"), *others, *more),
    )


def _placed(points: Sequence[Answered], ways: Container[str]) -> tuple[list[Answered], tuple[str, ...]]:
    """The points that have a place in the figure, and a description of the others."""
    placed = [point for point in points if point.way in ways and point.panel in PANELS and point.n in _NS]
    others = (point for point in points if point not in placed)
    return placed, counted(f"{p.way}, {' '.join(p.panel)}, {p.n} paragraphs" for p in others)


def _small(where: str, row: dict[str, str]) -> Answered:
    return Answered(
        name=row["arch"],
        way=row["mode"],
        panel=(_option(row, "order"), _option(row, "variant")),
        n=count_in(where, row, "tested_n"),
        accuracy=share_in(where, row, "accuracy"),
        low=share_in(where, row, "accuracy_low"),
        high=share_in(where, row, "accuracy_high"),
        questions=count_in(where, row, "eval_samples"),
        seed=count_in(where, row, "seed"),
        hardware=row["hardware"],
        identity=identity_of(where, row),
    )


def _evidence(where: str, row: dict[str, str]) -> Answered:
    share = share_in(where, row, "exact_trace")
    low, high = wilson_interval(share, count_in(where, row, "eval_samples"))
    return replace(_small(where, row), way=f"{row['mode']} evidence", accuracy=share, low=low, high=high)


def _option(row: dict[str, str], name: str) -> str:
    options = option_values(row["tested_options"])
    return options.get(name, "")


def _pretrained() -> tuple[list[Answered], tuple[str, ...]]:
    if not PRETRAINED.exists():
        return [], ()
    columns = ("model", "method", "n_paragraphs", "order", "variant", "questions", "selected", "exact_match")
    rows = read_rows(PRETRAINED, (*columns, "low", "high"))
    points = [
        Answered(
            name=row["model"],
            way=row["method"],
            panel=(row["order"], row["variant"]),
            n=count_in(where, row, "n_paragraphs"),
            accuracy=share_in(where, row, "exact_match"),
            low=share_in(where, row, "low"),
            high=share_in(where, row, "high"),
            questions=count_in(where, row, "questions"),
            selected=row["selected"] in ("1", "True"),
            identity=identity_of(where, row, _REQUEST),
        )
        for where, row in rows
        if row.get("distractors", "own") == "own"
    ]
    placed, others = _placed(points, _METHODS)
    return placed, (*counted(["pretrained models with other distractors"] * (len(rows) - len(points))), *others)


def _published() -> list[Answered]:
    if not PUBLISHED.exists():
        return []
    columns = ("mode", "arch", "n_paragraphs", "order", "variant", "questions", "accuracy")
    return [
        Answered(
            name=row["arch"],
            way=row["mode"],
            panel=(row["order"], row["variant"]),
            n=count_in(where, row, "n_paragraphs"),
            accuracy=(share := share_in(where, row, "accuracy")),
            low=share,
            high=share,
            questions=count_in(where, row, "questions"),
            selected=True,
            identity=identity_of(where, row),
        )
        for where, row in read_rows(PUBLISHED, columns)
    ]


def draw_figure(tables: Tables) -> Figure:
    """A row for each view of the small models, and one for pretrained models and published values."""
    views = [view for view in _ROWS if any(point.way == view for point in tables.small)]
    architectures = in_order(point.name for point in tables.small)
    models = sorted({point.name for point in tables.pretrained})
    figure = page(
        "HotpotQA: accuracy and evidence by the number of paragraphs",
        [_architecture_keys(architectures, tables), _model_keys(models, tables)],
        _caption(tables, architectures),
        _ROW_HEIGHT * (len(views) + 1) + 0.35,
    )
    grid = figure.subplots(len(views) + 1, len(PANELS), sharex=True, sharey=True, squeeze=False)
    names = [*architectures, *(point.name for point in tables.published)]
    colours, marks = style.colours(names), style.architecture_markers(names)
    looks = {name: style.filled_marker(marks[name], colours[name]) for name in architectures}
    of_models = style.model_colours(models)
    for axes, title in zip(grid[0], PANELS.values(), strict=True):
        axes.set_title(title)
    for line, view in zip(grid, views, strict=False):
        mode, _, share = view.partition(" ")
        asked = "Real questions" if tables.real else "Made-up worlds"
        line[0].set_ylabel(f"{asked}\n{style.VIEWS[mode]}\n{share or 'accuracy'}")
        for axes, panel in zip(line, PANELS, strict=True):
            points = [point for point in tables.small if (point.way, point.panel) == (view, panel)]
            _lines(axes, points, looks)
    grid[-1][0].set_ylabel("Pretrained\nreal questions\nexact match")
    for axes, panel in zip(grid[-1], PANELS, strict=True):
        _pretrained_lines(axes, [point for point in tables.pretrained if point.panel == panel], models, of_models)
        theirs = [point for point in tables.published if point.panel == panel]
        for point in theirs:
            style.published_dots(axes, [(point.n, point.accuracy)], marks[point.name], colours[point.name])
        if not axes.lines:
            _say_missing(axes)
        axes.set_xlabel("paragraphs n")
    for axes in grid.flat:
        _axes(axes)
    return figure


def _axes(axes: Axes) -> None:
    axes.set_xlim(_NS[0] - 0.8, _NS[-1] + 0.8)
    axes.set_xticks(_NS)
    axes.set_ylim(0, 1.04)
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0", "", "0.5", "", "1"])
    axes.grid(axis="y")


def _lines(axes: Axes, points: list[Answered], looks: dict[str, dict[str, Any]]) -> None:
    """A line for each architecture: the mean of its seeds, the envelope of their intervals."""
    if not points:
        _say_missing(axes)
    for index, (name, look) in enumerate(looks.items()):
        shift = _SPREAD * (index - (len(looks) - 1) / 2)
        means = _means(point for point in points if point.name == name)
        _line(axes, means, shift, look, "-", style.name_of(name))


def _pretrained_lines(axes: Axes, points: list[Answered], models: Sequence[str], colours: dict[str, str]) -> None:
    """A line for each model and method over all questions; open marks, dashed, over those that the paper's rule
    selects."""
    asked = {(point.name, point.way) for point in points}
    lines = [line for line in product(models, _METHODS) if line in asked]
    for index, (name, method) in enumerate(lines):
        shift = min(_SPREAD, _WIDEST / len(lines)) * (index - (len(lines) - 1) / 2)
        filled = style.filled_marker(_METHODS[method], colours[name])
        for selected, dash, look in ((False, "-", filled), (True, "--", _hollow(filled))):
            some = [p for p in points if (p.name, p.way, p.selected) == (name, method, selected)]
            joined = all(point.questions >= _FEW for point in some)
            _line(axes, _means(some), shift, look, dash if joined else "", name)


def _hollow(marker: dict[str, Any]) -> dict[str, Any]:
    return marker | {"markerfacecolor": "white", "markeredgecolor": marker["color"]}


def _line(
    axes: Axes, means: dict[int, Seeds[Answered]], shift: float, marker: dict[str, Any], dash: str, label: str
) -> None:
    if means:
        xs, ys = [n + shift for n in means], [mean.accuracy for mean in means.values()]
        if all(run.questions >= _BARE for mean in means.values() for run in mean.runs):
            bars = style.interval([*means.values()])
            axes.errorbar(xs, ys, yerr=bars, ecolor=str(marker["color"]), elinewidth=0.8, fmt="none")
        axes.plot(xs, ys, **marker, linestyle=dash, linewidth=1.1, label=label)


def _means(points: Iterable[Answered]) -> dict[int, Seeds[Answered]]:
    by_n: dict[int, list[Answered]] = defaultdict(list)
    for point in points:
        by_n[point.n].append(point)
    return {n: Seeds(tuple(same)) for n, same in sorted(by_n.items())}


def _say_missing(axes: Axes) -> None:
    axes.text(0.5, 0.5, "not run", transform=axes.transAxes, ha="center", va="center", color=style.GREY)


def _architecture_keys(architectures: Sequence[str], tables: Tables) -> list[Line2D]:
    names = list(dict.fromkeys([*architectures, *(point.name for point in tables.published)]))
    colours, marks = style.colours(names), style.architecture_markers(names)
    keys = [
        Line2D([], [], label=style.name_of(name), **style.filled_marker(marks[name], colours[name])) for name in names
    ]
    if tables.published:
        keys.append(Line2D([], [], label=style.PUBLISHED, **style.open_marker("o", style.INK)))
    return keys


def _model_keys(models: Sequence[str], tables: Tables) -> list[Line2D]:
    colours = style.model_colours(models)
    keys = [Line2D([], [], color=colours[name], linewidth=3, label=name) for name in models]
    for method, marker in _METHODS.items():
        if any(point.way == method for point in tables.pretrained):
            keys.append(Line2D([], [], **style.filled_marker(marker, style.GREY), linestyle="none", label=method))
    if any(point.selected for point in tables.pretrained):
        look = _hollow(style.filled_marker("o", style.GREY))
        keys.append(Line2D([], [], linestyle="--", label="selected questions", **look))
    return keys


def _told_of_pretrained(points: Sequence[Answered]) -> str:
    """Which models were asked how many questions, and what that cannot show."""
    if not points:
        return "No pretrained model of ours has been run."
    models = sorted({point.name for point in points})
    asked, selected = ({p.questions for p in points if p.selected == rule} for rule in (False, True))
    chosen = f", {number_of(selected, 'question')} selected" if selected else ""
    told = f"Pretrained: {', '.join(models)}, {number_of(asked, 'question')} a point{chosen}."
    if min(asked) < _FEW:
        told += f" Points of fewer than {_FEW} are not joined, and of fewer than {_BARE} have no interval."
    return told if len(models) > 1 else f"{told} One model says nothing about other architectures."


def _caption(tables: Tables, architectures: Sequence[str]) -> str:
    """How the numbers were made, and what is missing."""
    counts, seeds = {point.questions for point in tables.small}, {point.seed for point in tables.small}
    cells = {(p.way, p.name, p.panel, p.n) for p in tables.small if p.way in _VIEWS}
    missing = len(_VIEWS) * len(architectures) * len(PANELS) * len(_NS) - len(cells)
    first = (
        f"Small models: free decoding of {spread(counts)} held-out questions per point{of_split(tables.small)}, "
        f"searches executed; an undecided answer counts 0. Evidence: both supporting sentences in the trace, in its "
        f"order. Trained on up to {tables.samples:,} samples, gold in random places, all n together; "
        f"{number_of([len(seeds)], 'seed')}. Error bars: 95 % Wilson intervals"
        f"{' (of seeds: their envelope)' if len(seeds) > 1 else ''}. Hardware: {hardware(tables.small)}."
    )
    second = [
        f"{missing} of {missing + len(cells)} points of small models are missing." if missing else "",
        _told_of_pretrained(tables.pretrained),
        "Published values: CoT of a 1.3B Transformer and two models distilled from it, on 350 questions that all three "
        "answer from the gold paragraphs alone, so 1 at n = 2 by construction." if tables.published else "",
        left_out(tables.left_out),
    ]  # fmt: skip
    return first + "\n" + " ".join(filter(None, second))
