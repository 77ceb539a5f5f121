"""Figures: one module each, drawn from result tables alone; no training, no network, no hidden state.

A figure is a module `plots/fig*.py` with `draw_figure(results) -> matplotlib.figure.Figure`.  `plots/idea.py` explains
the task; it shows no results, so its `draw_figure` takes none.

A figure that is not of the demo's table names its own as `DEFAULT_TABLE`; one that is not of a table of runs also has
`read_table(path)`, whose answer is what its `draw_figure` takes.
"""

import pkgutil
import re
from importlib import import_module
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from retrieval_gap.machine.errors import UsageError, unknown
from retrieval_gap.machine.files import write_atomically

from . import style
from .results import RESULTS, read_results

DEFAULT_TABLE = RESULTS / "istree_demo.csv"
_WITHOUT_TABLE = ("idea",)
# Neither format may carry the date or the version it was drawn with: the same table, the same bytes.
_FORMATS: dict[str, dict[str, Any]] = {
    "png": {"dpi": 200, "metadata": {"Software": None}},
    "svg": {"metadata": {"Date": None, "Creator": None}},
}


def figures() -> list[str]:
    """Names of the figures there are."""
    return [name for _, name, _ in pkgutil.iter_modules(__path__) if name.startswith("fig") or name in _WITHOUT_TABLE]


def draw(figure: str, results: Path | None, out: Path) -> list[Path]:
    """Draws a figure from a results table (default: the demo's) and writes `out/FIGURE.png` and `.svg`.

    Raises UsageError for an unknown figure, a table that will not do, or a folder that cannot be written.
    """
    if figure not in figures():
        raise unknown("figure", figure, figures())
    if results is not None and figure in _WITHOUT_TABLE:
        raise UsageError(f"{figure} shows no results; leave out --results {results}")
    module = import_module(f"{__name__}.{figure}")
    read, default = getattr(module, "read_table", read_results), getattr(module, "DEFAULT_TABLE", DEFAULT_TABLE)
    tables = [] if figure in _WITHOUT_TABLE else [read(results or default)]
    with style.applied():
        drawn = module.draw_figure(*tables)
        return [_save(drawn, out / f"{figure}.{kind}", kind) for kind in _FORMATS]


def _save(figure: Figure, path: Path, kind: str) -> Path:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, lambda part: _write(figure, part, kind))
    except OSError as error:
        reason = error.strerror or error
        raise UsageError(f"{path} cannot be written ({reason}); give another folder with --out") from error
    return path


def _write(figure: Figure, path: Path, kind: str) -> None:
    figure.savefig(path, format=kind, **_FORMATS[kind])
    if kind == "svg":
        # matplotlib names clip paths by a hash of their corners, whose last bits differ from process to process.
        text = path.read_text(encoding="utf-8")
        for i, name in enumerate(dict.fromkeys(re.findall(r'id="([a-z][0-9a-f]{10})"', text))):
            text = text.replace(name, f"{name[0]}{i}")
        path.write_text(text, encoding="utf-8")
