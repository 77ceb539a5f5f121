"""Figures: one module each, drawn from result tables alone; no training, no network, no hidden state.

A figure is a module `plots/fig*.py` with `draw_figure(results) -> matplotlib.figure.Figure`.
"""

import pkgutil
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from plots import style
from plots.table import RESULTS, Results, read_results
from retrieval_gap.errors import UsageError, unknown
from retrieval_gap.files import write_atomically

DEFAULT_TABLE = RESULTS / "istree_demo.csv"
# Neither format may carry the date or the version it was drawn with: the same table, the same bytes.
_FORMATS: dict[str, dict[str, Any]] = {
    "png": {"dpi": 200, "metadata": {"Software": None}},
    "svg": {"metadata": {"Date": None, "Creator": None}},
}


def figures() -> list[str]:
    """Names of the figures there are."""
    return [module.name for module in pkgutil.iter_modules(__path__) if module.name.startswith("fig")]


def draw(figure: str, results: Path | None, out: Path) -> list[Path]:
    """Draws a figure from a results table (default: the demo's) and writes `out/FIGURE.png` and `.svg`.

    Raises UsageError for an unknown figure, a table that will not do, or a folder that cannot be written.
    """
    draw_figure = _figure(figure)
    table = read_results(results or DEFAULT_TABLE)
    with style.applied():
        drawn = draw_figure(table)
        return [_save(drawn, out / f"{figure}.{kind}", kind) for kind in _FORMATS]


def _figure(name: str) -> Callable[[Results], Figure]:
    if name not in figures():
        raise unknown("figure", name, figures())
    function: Callable[[Results], Figure] = import_module(f"plots.{name}").draw_figure
    return function


def _save(figure: Figure, path: Path, kind: str) -> Path:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, lambda part: figure.savefig(part, format=kind, **_FORMATS[kind]))
    except OSError as error:
        reason = error.strerror or error
        raise UsageError(f"{path} cannot be written ({reason}); give another folder with --out") from error
    return path
