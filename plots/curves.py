"""Learning curves of runs: the loss along the samples trained on, and accuracy if it was measured during training."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from retrieval_gap.machine.errors import UsageError

from . import style
from .caption import left_out
from .page import page

ACCURACIES = {"accuracy": "-", "exact_trace": "--"}
MOST_RUNS = 14
_HEIGHT = 3.4  # inches


@dataclass(frozen=True, kw_only=True)
class Curve:
    """A run's reports: numbers at counts of samples.  name: its label."""

    name: str
    arch: str
    reports: list[dict[str, Any]]

    def along(self, key: str) -> tuple[list[float], list[float]]:
        """(samples, values) of the reports that have this number."""
        kept = [told for told in self.reports if type(told.get(key)) in (int, float)]
        return [told["samples"] for told in kept], [told[key] for told in kept]


def read_curves(runs: Sequence[Path]) -> list[Curve]:
    """Raises UsageError for a directory that is not a run's, and for no runs or too many to tell apart."""
    if not runs:
        raise UsageError("plot curves needs run directories: retrieval-gap plot curves runs/*")
    if len(runs) > MOST_RUNS:
        raise UsageError(
            f"{len(runs)} runs are too many to tell apart; give at most {MOST_RUNS}, such as runs/*-lstm-*"
        )
    read = [_read(path) for path in runs]
    named = _names([config for config, _ in read])
    return [
        Curve(name=name or path.name, arch=str(config.get("arch", "")), reports=reports)
        for path, name, (config, reports) in zip(runs, named, read, strict=True)
    ]


def _names(configs: Sequence[dict[str, Any]]) -> list[str]:
    """The settings in which runs differ, such as `Mamba, lr 0.003, seed 1`; "" for a run alone, and if these are not
    enough to tell them apart."""
    keys = dict.fromkeys(key for config in configs for key in config if key != "arch")
    differ = [key for key in keys if len({str(config.get(key)) for config in configs}) > 1]
    names = []
    for config in configs:
        told = [f"{key} {config[key]}" for key in differ if config.get(key) not in (None, "")]
        names.append(", ".join([style.name_of(str(config.get("arch", ""))), *told]))
    return names if 1 < len(set(names)) == len(names) else [""] * len(names)


def _read(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A run's configuration and its reports."""
    try:
        config = json.loads((path / "config.json").read_text(encoding="utf-8"))
        lines = (path / "metrics.jsonl").read_text(encoding="utf-8", errors="replace").split("\n")
    except FileNotFoundError as error:
        below = "; its runs are one level down" if any(path.glob("*/config.json")) else ""
        lacking = Path(error.filename).name
        raise UsageError(f"{path} has no {lacking}: no training of a run is told there{below}") from error
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: config.json or metrics.jsonl cannot be read ({error})") from error
    return config if isinstance(config, dict) else {}, [told for told in map(_report, lines) if told]


def _report(line: str) -> dict[str, Any] | None:
    """The report of a line; None if a kill cut it short, or it is not a report."""
    try:
        told = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return told if isinstance(told, dict) and type(told.get("samples")) in (int, float) else None


def draw_figure(curves: list[Curve]) -> Figure:
    """A panel of losses; beside it one of accuracies if a run measured any.

    Raises UsageError if no run has a report of its loss.
    """
    drawn = [curve for curve in curves if curve.along("loss")[0]]
    if not drawn:
        raise UsageError(f"{curves[0].name} has no report of its loss yet, so there is nothing to draw")
    measured = any(curve.along(key)[0] for curve in drawn for key in ACCURACIES)
    looks = _looks(drawn)
    keys = [Line2D([], [], label=curve.name, **look) for curve, look in zip(drawn, looks, strict=True)]
    missing = [curve.name for curve in curves if curve not in drawn]
    figure = page("Learning curves", [keys], _caption(missing, measured), _HEIGHT)
    panels = figure.subplots(1, 2 if measured else 1, squeeze=False)[0]
    for curve, look in zip(drawn, looks, strict=True):
        panels[0].plot(*curve.along("loss"), label=curve.name, **look)
        for key, dash in ACCURACIES.items() if measured else ():
            if curve.along(key)[0]:
                panels[1].plot(*curve.along(key), label=f"{curve.name} {key}", **look | {"linestyle": dash})
    _loss_axes(panels[0])
    if measured:
        panels[1].set_ylim(-0.02, 1.03)
        panels[1].set_ylabel("accuracy on validation samples")
    for axes in panels:
        axes.set_xlabel("samples trained on")
        axes.xaxis.set_major_formatter(lambda x, _: f"{x / 1000:g}k" if x >= 1000 else f"{x:g}")
        axes.grid(axis="both")
    return figure


def _looks(curves: Sequence[Curve]) -> list[dict[str, Any]]:
    """Each run's look: its architecture's colour, and marks that differ within an architecture."""
    colours, seen, looks = style.colours([curve.arch for curve in curves]), dict[str, int](), []
    for curve in curves:
        place = seen[curve.arch] = seen.get(curve.arch, -1) + 1
        mark = style.filled_marker(style.MARKS[place % len(style.MARKS)], colours[curve.arch])
        looks.append({**mark, "markersize": 3.5, "linewidth": 1.2, "markevery": 0.08})
    return looks


def _loss_axes(axes: Axes) -> None:
    axes.set_yscale("log")
    axes.set_ylabel("loss (nats a graded token)")
    low, high = axes.get_ylim()
    decades = math.log10(high / low)
    axes.yaxis.set_major_formatter(lambda y, _: f"{y:g}")
    axes.yaxis.set_minor_formatter(lambda y, _: f"{y:g}" if _numbered(y, decades) else "")


def _numbered(y: float, decades: float) -> bool:
    """Whether a tick between powers of ten has its number: all do within one decade, 2 and 5 within two."""
    return decades < 1 or (decades < 2 and f"{y:e}"[0] in "25")


def _caption(missing: Sequence[str], measured: bool) -> str:
    parts = [
        "Loss: mean over the graded training tokens since the last report.",
        "Solid: answer accuracy; dashed: exact traces." if measured else "No run evaluated accuracy during training.",
        left_out([f"{name} (no report of a loss yet)" for name in missing]),
    ]
    return " ".join(filter(None, parts))
