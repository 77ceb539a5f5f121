"""What is learned: models of one family of graphs tested on others, with separate accuracies for trees and non-trees.

A shortcut shows as a wide gap: nearly all of one class right, nearly all of the other wrong.
"""

from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from retrieval_gap.about import in_order
from retrieval_gap.machine.errors import UsageError
from retrieval_gap.tables.identity import Identity, identity_of

from . import style
from .caption import hardware, held_out, left_out
from .kept import Kept, number_of
from .page import page
from .results import RESULTS, count_in, read_rows, share_in
from .seeds import Seeds

DEFAULT_TABLE = RESULTS / "istree_transfer.csv"
ANSWERS = {"[TRUE]": ("o", "trees"), "[FALSE]": ("X", "graphs that are not trees")}
_TEXT = ("task", "family", "tested_on", "answer", "mode", "arch", "hardware")
_COUNTS = ("n", "tested_n", "eval_samples")
_SHARES = ("accuracy", "accuracy_low", "accuracy_high")


@dataclass(frozen=True, kw_only=True)
class Tested:
    """A row: a run on one class of one family.  Shares with their 95 % Wilson interval."""

    task: str
    family: str
    tested_on: str
    answer: str
    mode: str
    arch: str
    n: int
    tested_n: int
    eval_samples: int
    accuracy: float
    low: float
    high: float
    hardware: str
    identity: Identity


def read_table(path: Path) -> Kept[Tested]:
    """The tests at the n of training.

    Raises UsageError for a table that is invalid, has none of them, or is not of runs of one family and one n.
    """
    read = read_rows(path, (*_TEXT, *_SHARES, *_COUNTS), "transfer RUN_DIR... --csv FILE")
    every = tuple(_tested(where, row) for where, row in read)
    tests = (
        Kept(path, every)
        .only(lambda row: row.task == "istree", "test of IsTree", lambda row: f"task {row.task}")
        .only(lambda row: row.answer in ANSWERS, "test of IsTree", lambda row: f"the answer {row.answer or '(open)'}")
    )
    if len({(row.family, row.n) for row in tests.rows}) != 1:
        raise UsageError(f"results table {path} is not of runs of one family and one n")
    return tests.only(
        lambda row: row.tested_n == row.n,
        "test at the n of training (retrieval-gap plot accuracy --x tested_n draws others)",
        lambda row: f"tests at n = {row.tested_n}",
    )


def _tested(where: str, row: dict[str, str]) -> Tested:
    values: dict[str, Any] = {key: row[key] for key in _TEXT}
    values |= {key.removeprefix("accuracy_"): share_in(where, row, key) for key in _SHARES}
    values |= {key: count_in(where, row, key) for key in _COUNTS}
    return Tested(identity=identity_of(where, row), **values)


def draw_figure(tests: Kept[Tested]) -> Figure:
    """A row of panels for each family tested, the one trained on first; a column for each view."""
    rows, family = tests.rows, tests.rows[0].family
    families = sorted({row.tested_on for row in rows}, key=lambda name: (name != family, name))
    modes, architectures = sorted({row.mode for row in rows}, key=_place), in_order(row.arch for row in rows)
    panel_height = 0.35 + 0.22 * len(architectures)
    title = f"IsTree, {rows[0].n} nodes: trained on {style.family_name(family)}, tested on others"
    figure = page(title, [_keys()], _caption(tests), 0.5 + panel_height * len(families))
    grid = figure.subplots(len(families), len(modes), sharex=True, sharey=True, squeeze=False)
    for name, line in zip(families, grid, strict=True):
        line[0].set_ylabel(style.family_name(name).replace(" ", "\n"))
        for mode, axes in zip(modes, line, strict=True):
            _panel(axes, [r for r in rows if (r.tested_on, r.mode) == (name, mode)], architectures)
    for mode, head, foot in zip(modes, grid[0], grid[-1], strict=True):
        head.set_title(style.VIEWS.get(mode, mode))
        foot.set_xlabel("accuracy (dashed: chance)")
    return figure


def _place(mode: str) -> tuple[int, str]:
    return (list(style.VIEWS).index(mode) if mode in style.VIEWS else len(style.VIEWS)), mode


def _panel(axes: Axes, rows: list[Tested], architectures: list[str]) -> None:
    colours = style.colours(architectures)
    axes.set_xlim(-0.04, 1.04)
    axes.set_ylim(len(architectures) - 0.4, -0.6)
    axes.set_yticks(range(len(architectures)), [style.name_of(arch) for arch in architectures])
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")
    style.chance_line(axes, vertical=True)
    of_arch: dict[str, dict[str, list[Tested]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        of_arch[row.arch][row.answer].append(row)
    for arch, answers in of_arch.items():
        means = {answer: Seeds(tuple(some)) for answer, some in answers.items()}
        place, shares = architectures.index(arch), [mean.accuracy for mean in means.values()]
        axes.plot([min(shares), max(shares)], [place, place], color=style.tint(colours[arch], 0.45), linewidth=4)
        for answer, mean in means.items():
            mark = style.filled_marker(ANSWERS[answer][0], colours[arch]) | {"markersize": 6.0}
            axes.errorbar(mean.accuracy, place, xerr=style.interval([mean]), elinewidth=1.0, label=answer, **mark)


def _keys() -> list[Line2D]:
    marks = [
        Line2D([], [], **style.filled_marker(mark, style.GREY), linestyle="none", label=f"right answers of {name}")
        for mark, name in ANSWERS.values()
    ]
    return [*marks, style.chance_key()]


def _caption(tests: Kept[Tested]) -> str:
    runs = number_of({*Counter((row.tested_on, row.mode, row.arch, row.answer) for row in tests.rows).values()}, "run")
    return (
        f"Free decoding of {held_out(tests.rows)} of each class and family, searches executed; an undecided answer "
        f"counts 0.5. {runs} per cell. Error bars: 95 % Wilson interval. Hardware: {hardware(tests.rows)}. "
        f"{left_out(tests.left_out)}"
    )
