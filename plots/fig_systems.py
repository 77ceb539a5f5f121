"""What b bits of state can do: all systems on one axis, in recall, where the ceiling is known.

The problems are Index and associative recall, and `recall`, the same in words.  The systems are trained models, the
same with their state rounded afterwards, constructed weights, and language models whose state is a text.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from math import floor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from retrieval_gap.about import in_order
from retrieval_gap.machine.errors import UsageError
from retrieval_gap.statistics.intervals import wilson_interval
from retrieval_gap.tasks.api import TaskConfig
from retrieval_gap.tasks.registry import load_task
from retrieval_gap.tasks.streams.recall import Recall
from retrieval_gap.tasks.streams.stream import StreamConfig
from retrieval_gap.theory.best_cells import independent_scores
from retrieval_gap.theory.bounds import Ceiling, bound_of

from . import constructions, style
from .caption import left_out
from .kept import counted
from .memories import METHODS, read_memories
from .page import line_of_panels, page
from .probes import frontier, places, read_probes
from .results import RESULTS, ResultRow, read_runs
from .seeds import Seeds

DEFAULT_TABLE = RESULTS
KINDS = ("trained", "rounded", "constructed", "memory")
TASKS = ("index", "associative_recall")
# The tables of a folder that are drawn.
TRAINED = ("theory_demo.csv", "theory_cpu.csv", "theory_bits_cpu.csv", "smallest_lstm.csv")
PROBED = ("theory_demo_probe.csv", "theory_cpu_probe.csv")
CONSTRUCTED = ("constructions.csv",)
MEMORIES = ("memory_scripted.csv", "memory_cpu.csv")
_PANELS = {False: "Reads once, then answers", True: "Searches the sequence while it answers"}
_CEILING: dict[str, Any] = {"color": style.INK, "linestyle": (0, (5, 2)), "linewidth": 1.3}
_ROUNDED: dict[str, Any] = {"linestyle": ":", "linewidth": 1.2}
_MODEL_COLOURS = ("#000000", "#56B4E9", "#882255")  # none of an architecture that is drawn
_MEMORY_MARKS = {"llm_as_rnn": "P", "oracle_memory": "X"}
# By construction, the architecture whose colour and mark it has.
_LIKE = {"transformer": "transformer", "hybrid": "hybrid", "rnn_rag": "lstm"}


class System(NamedTuple):
    """kind: one of `KINDS`.  what: an architecture, a construction or a language model.  method: of a memory."""

    kind: str
    what: str
    method: str = ""

    @property
    def like(self) -> str:
        """The architecture or model whose colour this system has."""
        return _LIKE.get(self.what, self.what)

    @property
    def name(self) -> str:
        if self.kind == "constructed":
            return f"{'RNN' if self.what == 'rnn_rag' else style.name_of(self.what)}, constructed"
        if self.kind == "memory":
            return f"{self.what.removeprefix('scripted:').replace('_', '-')}, {METHODS[self.method]}"
        return style.name_of(self.what)


@dataclass(frozen=True, kw_only=True)
class RecallProblem:
    """bits: those of the sequence, all of which a reader that is always right carries.  ceiling: see `Bound`."""

    bits: float
    ceiling: Ceiling

    @cached_property
    def guess(self) -> float:
        return float(self.ceiling(0))

    def above_guess(self, accuracy: float) -> float:
        """0 for a guess, 1 for always right."""
        return (accuracy - self.guess) / (1 - self.guess)

    def highest(self, share: float) -> float:
        """The ceiling above a guess of states of whole bits with no more than this share of the sequence's."""
        bits = floor(share * self.bits + 1e-9)  # a share of a whole number of bits is that number again
        return self.above_guess(float(self.ceiling(bits)))


@dataclass(frozen=True, kw_only=True)
class SystemPoint:
    """state_bits: for each bit of the sequence.  accuracy: above a guess; low, high: of a measurement's 95 % interval,
    or of all seeds' intervals.  searches: whether searches are executed while it answers."""

    system: System
    searches: bool
    problem: RecallProblem
    state_bits: float
    accuracy: float
    low: float
    high: float


@dataclass(frozen=True)
class Systems:
    """left_out: descriptions of other rows of the same tables, for the caption."""

    points: list[SystemPoint]
    left_out: tuple[str, ...]


def read_table(folder: Path) -> Systems:
    """The points of those tables of a folder that exist.

    Raises UsageError for a folder without any, and for a table that is invalid."""
    others: list[str] = []
    points = [
        *_trained(_those_of(folder, TRAINED), others),
        *_rounded(_those_of(folder, PROBED), others),
        *_constructed(_those_of(folder, CONSTRUCTED), others),
        *_remembered(_those_of(folder, MEMORIES), others),
    ]
    if not points:
        names = ", ".join([*TRAINED, *PROBED, *CONSTRUCTED, *MEMORIES])
        raise UsageError(f"{folder} is not a folder with results of recall (this figure reads {names})")
    return Systems(points, counted(others))


def _those_of(folder: Path, names: Iterable[str]) -> list[Path]:
    return [folder / name for name in names if (folder / name).exists()]


def _trained(paths: list[Path], others: list[str]) -> Iterator[SystemPoint]:
    """A run may be in several tables."""
    alike: dict[tuple[tuple[str, str], ...], dict[int, ResultRow]] = defaultdict(dict)
    for run in (run for path in paths for run in read_runs(path)):
        if run.cell.task not in TASKS:
            others.append("other tasks")
        elif not run.state_bits:
            others.append("models whose bits are not known")
        else:
            alike[run.identity.settings][run.seed] = run
    for settings, runs in alike.items():
        seeds = Seeds(tuple(runs.values()))
        cell, bits = seeds.runs[0].cell, seeds.runs[0].state_bits or 0
        problem = _problem(cell.task, cell.family, cell.n, dict(settings).get("options", ""))
        share = seeds.accuracy, seeds.low, seeds.high
        yield _point(System("trained", cell.arch), problem, bits, share, searches=cell.mode == "rag")


def _rounded(paths: list[Path], others: list[str]) -> Iterator[SystemPoint]:
    """Without the states that are not rounded: they are the trained models themselves."""
    for mean in (mean for path in paths for mean in read_probes(path).means):
        row = mean.runs[0]
        if row.task not in TASKS or row.mode != "direct":
            others += ["other tasks"] * len(mean.runs)
        elif row.bits is not None and row.state_bits:
            problem = _problem(row.task, row.family, row.n, row.options)
            yield _point(System("rounded", row.arch), problem, row.state_bits, (mean.accuracy, mean.low, mean.high))


def _constructed(paths: list[Path], others: list[str]) -> Iterator[SystemPoint]:
    for row in (row for path in paths for row in constructions.read_table(path).rows):
        if row.task not in TASKS or row.how not in _LIKE:
            others.append("other tasks")
            continue
        problem = _problem(row.task, row.family, row.n, row.options)
        share = row.accuracy, *wilson_interval(row.accuracy, row.samples)
        yield _point(System("constructed", row.how), problem, row.state_bits, share, searches=row.how == "rnn_rag")


def _remembered(paths: list[Path], others: list[str]) -> Iterator[SystemPoint]:
    for row in (row for path in paths for row in read_memories(path).rows):
        if row.benchmark != "recall":
            others.append("other benchmarks")
        elif row.method not in _MEMORY_MARKS or row.variant or row.part != "all" or not row.state_bits:
            others.append("other methods of memory")
        elif row.score is not None:
            problem = _problem_in_words(row.options)
            share = row.score, *(row.interval or (row.score, row.score))
            yield _point(System("memory", row.model, row.method), problem, row.state_bits, share)


@cache
def _problem(task: str, family: str, n: int, options: str) -> RecallProblem:
    bound = bound_of(load_task(task)(TaskConfig(n=n, family=family, options=options)))
    return RecallProblem(bits=bound.bits_needed, ceiling=bound.ceiling)


@cache
def _problem_in_words(options: str) -> RecallProblem:
    recall = Recall(StreamConfig(options=options))
    scores = independent_scores(recall.options.facts, recall.options.values)
    return RecallProblem(bits=recall.bits_needed, ceiling=scores.ceiling)


def _point(
    system: System, problem: RecallProblem, bits: float, share: tuple[float, float, float], *, searches: bool = False
) -> SystemPoint:
    """share: an accuracy and its interval."""
    accuracy, low, high = map(problem.above_guess, share)
    bits /= problem.bits
    return SystemPoint(
        system=system, searches=searches, problem=problem, state_bits=bits, accuracy=accuracy, low=low, high=high
    )


def draw_figure(systems: Systems) -> Figure:
    """A panel for readers without searches, and one for those whose searches are executed."""
    points = systems.points
    looks = _looks({point.system for point in points})
    drawn = {
        kind: [Line2D([], [], label=s.name, **look) for s, look in looks.items() if s.kind == kind] for kind in KINDS
    }
    rounded = Line2D([], [], label="the same, rounded afterwards", **_ROUNDED | {"color": style.INK})
    ceiling = Line2D([], [], label="ceiling without a search", **_CEILING)
    legend = [[*drawn["trained"], rounded], [*drawn["constructed"], ceiling], drawn["memory"]]
    figure = page("What b bits of state can do: recall", legend, _caption(systems), 4.4)
    x, y = "bits of state for each bit of the sequence", "accuracy (0: a guess, 1: always right)"
    panels = line_of_panels(figure, list(_PANELS.values()), x=x, y=y)
    all_bits = [point.state_bits for point in points]
    for searches, axes in zip(_PANELS, panels, strict=True):
        _draw_ceiling(axes, {point.problem for point in points}, binds=not searches)
        axes.set_xlim(min(all_bits) / 1.6, max(all_bits) * 1.6)
        for system, look in looks.items():
            _draw_system(axes, [p for p in points if p.system == system and p.searches == searches], look)
    return figure


def _draw_system(axes: Axes, points: list[SystemPoint], look: dict[str, Any]) -> None:
    """Points of trained models are dots, but for those that are better than others with no more bits."""
    points = sorted(points, key=lambda point: point.state_bits)
    marked = [point for point in points if point.system.kind in ("constructed", "memory")] or frontier(points)
    axes.plot(*places(points), ".", color=style.tint(look["color"], 0.35), markersize=2, zorder=1)
    axes.errorbar(*places(marked), yerr=style.interval(marked), elinewidth=0.7, **look)


def _draw_ceiling(axes: Axes, problems: set[RecallProblem], *, binds: bool) -> None:
    shares = np.geomspace(1e-3, 1, 400)
    highest = [max(problem.highest(share) for problem in problems) for share in shares]
    axes.plot(shares, highest, **_CEILING)
    if binds:
        axes.fill_between(shares, highest, 2, color=style.FAINT, linewidth=0, zorder=0)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(lambda bits, _: f"{bits:,g}")
    axes.set_ylim(-0.12, 1.06)
    axes.grid(axis="both")


def _looks(systems: set[System]) -> dict[System, dict[str, Any]]:
    """By kind: trained models have the looks of their architecture in every figure, constructions are hollow."""
    archs = in_order(system.like for system in systems if system.kind != "memory")
    models = sorted({system.what for system in systems if system.kind == "memory"})
    colours, marks = style.colours(archs), style.architecture_markers(archs)
    colours |= {model: _MODEL_COLOURS[place % len(_MODEL_COLOURS)] for place, model in enumerate(models)}
    order = [*archs, *models]
    looks: dict[System, dict[str, Any]] = {}
    for system in sorted(systems, key=lambda s: (KINDS.index(s.kind), order.index(s.like), s.method)):
        colour, mark = colours[system.like], _MEMORY_MARKS.get(system.method) or marks[system.like]
        if system.kind == "rounded":
            look = _ROUNDED | {"color": colour}
        elif system.kind == "constructed":
            look = style.open_marker(mark, colour) | {"color": colour}
        else:
            look = style.filled_marker(mark, colour) | {"linewidth": 1.1}
        looks[system] = look
    return looks


def _caption(systems: Systems) -> str:
    bits = sorted({point.problem.bits for point in systems.points})
    return (
        "Index and associative recall, and recall in words: independent values, one of them asked for; "
        f"{bits[0]:,.0f} to {bits[-1]:,.0f} bits are in a sequence. Dots are means over seeds; marks are those trained "
        "models that are better than all others with no more bits, and all constructions and memories. Error bars: "
        "95 % (over seeds, from the lowest end to the highest). A Transformer's or a hybrid's state has its cache; a "
        "GRU's is rounded to bits after every token, in training too; a language model's is a text of so many tokens, "
        "each of log2(vocabulary) bits. Dotted: rounded once, at the end of the sequence. The ceiling is the "
        "highest of these problems' and holds without searches. "
        f"Seeds, samples and hardware are in the tables. {left_out(systems.left_out)}"
    )
