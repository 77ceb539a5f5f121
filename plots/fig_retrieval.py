"""What closes the gap: the same task answered from a state of fixed size alone, with retrieval, and with attention.

Accuracy over n, a line for each model; every point is the mean of its seeds.
"""

from typing import Any

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from retrieval_gap.machine.errors import UsageError

from . import style
from .caption import hardware, held_out, left_out
from .kept import counted, number_of
from .page import page
from .results import RESULTS, Cell, Model, Results

DEFAULT_TABLE = RESULTS / "theory_demo.csv"
_MARKS = ("o", "s", "^", "D", "v", "p", "h")
_PANELS = ("Its state alone", "The same task with retrieval, or attention")


def draw_figure(results: Results) -> Figure:
    """A row for each recall task.  Raises UsageError for a table without a recall task at several n."""
    tasks = [task for task in dict.fromkeys(cell.task for cell in results.points) if task != "istree"]
    ns = sorted({cell.n for cell in results.points if cell.task in tasks})
    if len(ns) < 2:
        raise UsageError(f"results table {results.path} has no recall task at several n, so there is nothing to draw")
    figure = page("What retrieval and attention give back", _legend(results), _caption(results), 3.1 * len(tasks))
    grid = figure.subplots(len(tasks), 2, sharex=True, sharey=True, squeeze=False)
    parts = [results.only(task=task) for task in tasks]
    most = max(len(group) for part in parts for group in _groups(part))
    step = style.step_of(ns, most)
    for task, part, row in zip(tasks, parts, grid, strict=True):
        row[0].set_ylabel(f"{task.replace('_', ' ').capitalize()}\naccuracy (share of right answers)")
        for axes, group in zip(row, _groups(part), strict=True):
            _axes(axes, ns, margin=step * (most / 2 + 1))
            for place, ((mode, model), look) in enumerate(group.items()):
                _line(axes, part, mode, model, look, 2 ** (step * (place - (len(group) - 1) / 2)))
    for axes, title in zip(grid[0], _PANELS, strict=True):
        axes.set_title(title)
    for axes in grid[-1]:
        axes.set_xlabel("length n of the sequence (tokens)")
    return figure


def _groups(results: Results) -> list[dict[tuple[str, Model], dict[str, Any]]]:
    """Each panel's lines: a view and a model, with its colour and mark.  Models with a state of fixed size go from
    light to dark by their number of parameters; others have the colours of their architecture."""
    direct = [m for m in results.models if _has(results, "direct", m)]
    alone = [m for m in direct if results.state_of(m.arch) == "fixed"]
    alone.sort(key=lambda model: _parameters(results, "direct", model))
    shades = [to_hex(colormaps["magma"](0.78 - 0.6 * i / max(1, len(alone) - 1))) for i in range(len(alone))]
    helped = [("rag", m) for m in results.models if _has(results, "rag", m)]
    helped += [("direct", m) for m in direct if results.state_of(m.arch) == "grows"]
    colours = style.colours(results.architectures)
    return [
        {("direct", m): _look(shades[i], i) for i, m in enumerate(alone)},
        {key: _look(colours[key[1].arch], i) for i, key in enumerate(helped)},
    ]


def _not_drawn(results: Results) -> list[str]:
    """Tasks, families and views that are not drawn, and models whose kind of state is not known."""
    names = [style.name_of(arch) for arch in results.architectures if not results.state_of(arch)]
    unknown = [f"{name} (whether its state grows is not known)" for name in names]
    views = [style.VIEWS.get(mode, mode).lower() for mode in results.modes if mode not in ("direct", "rag")]
    tasks = ["IsTree"] if any(cell.task == "istree" for cell in results.points) else []
    families = [
        f"{task.replace('_', ' ')} of the family {family}"
        for task in dict.fromkeys(cell.task for cell in results.points)
        if task != "istree"
        for family in results.only(task=task).families[1:]
    ]
    shorter = sum(point.dropped for point in results.points.values())
    return [*tasks, *families, *views, *unknown, *counted(["shorter training"] * shorter)]


def _has(results: Results, mode: str, model: Model) -> bool:
    return any(cell.mode == mode and cell.model == model for cell in results.points)


def _parameters(results: Results, mode: str, model: Model) -> int:
    return min(run.parameters for run in results.runs if run.cell.mode == mode and run.cell.model == model)


def _look(colour: str, place: int) -> dict[str, Any]:
    return {"color": colour, "marker": _MARKS[place % len(_MARKS)]}


def _axes(axes: Axes, ns: list[int], margin: float) -> None:
    """margin: octaves beside the smallest and the largest n."""
    style.doublings(axes, ns)
    axes.set_xlim(ns[0] / 2**margin, ns[-1] * 2**margin)
    axes.set_ylim(0, 1.04)
    axes.grid(axis="y")


def _line(axes: Axes, results: Results, mode: str, model: Model, look: dict[str, Any], shift: float) -> None:
    """One model's points, moved sideways by the factor `shift`."""
    family = results.families[0]
    cells = [Cell(next(iter(results.points)).task, family, mode, n, *model) for n in results.ns]
    cells = [cell for cell in cells if cell in results.points]
    points = [results.points[cell] for cell in cells]
    axes.errorbar(
        [cell.n * shift for cell in cells],
        [point.accuracy for point in points],
        yerr=style.interval(points),
        label=_name(mode, model),
        markersize=4.5,
        linewidth=1.3,
        elinewidth=1.0,
        **look,
    )


def _legend(results: Results) -> list[list[Line2D]]:
    """A group of keys for each panel."""
    lines: list[dict[str, Line2D]] = [{}, {}]
    for group, line in zip(_groups(results), lines, strict=True):
        for (mode, model), look in group.items():
            line[_name(mode, model)] = Line2D([], [], markersize=4.5, label=_name(mode, model), **look)
    return [list(line.values()) for line in lines]


def _name(mode: str, model: Model) -> str:
    """Such as `LSTM, d_hidden=16, retrieval`: what a size changes, without the number of layers."""
    changes = [change for change in model.size.split("+")[1:] if not change.startswith("n_layers=")]
    return ", ".join([style.name_of(model.arch), *changes, *(["retrieval"] if mode == "rag" else [])])


def _caption(results: Results) -> str:
    runs = results.runs
    seeds = number_of({len(point.runs) for point in results.points.values()}, "seed")
    trained = number_of({run.samples for run in runs}, "training sample")
    return (
        f"Free decoding of {held_out(runs)}, searches executed. Values are means of {seeds}; error bars span "
        f"the lowest to the highest end of the seeds' 95 % Wilson intervals. {trained[0].upper()}{trained[1:]}. "
        f"Hardware: {hardware(runs)}. {left_out(_not_drawn(results))}"
    )
