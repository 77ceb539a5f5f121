"""Figures: one module each, drawn from result tables alone; no training, no network, no hidden state.

A figure is a module `plots/fig*.py` with `draw_figure(results) -> matplotlib.figure.Figure`.  `plots/idea.py` explains
the task; it shows no results, so its `draw_figure` takes none.

A figure whose table is not the demo's names it as `DEFAULT_TABLE`; one whose table is not a table of runs also has
`read_table(path)`, and its `draw_figure` takes the result.  A user's figure is such a module, named by its path.

`accuracy` draws any table of runs along any of its columns, `curves` the learning curves of runs.
"""

import pkgutil
import re
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure

from retrieval_gap.machine.errors import UsageError, fault, unknown
from retrieval_gap.machine.files import write_atomically
from retrieval_gap.tasks.containment import contained
from retrieval_gap.tasks.registry import run_file

from . import style
from .results import RESULTS, read_results

if TYPE_CHECKING:
    from .series import SeriesView

DEFAULT_TABLE = RESULTS / "istree_demo.csv"
_WITHOUT_TABLE = ("idea",)
GENERAL = ("accuracy", "curves")
# Neither format may hold the date or the version it was drawn with: the same table gives the same bytes.
_FORMATS: dict[str, dict[str, Any]] = {
    "png": {"dpi": 200, "metadata": {"Software": None}},
    "svg": {"metadata": {"Date": None, "Creator": None}},
}
KINDS = tuple(_FORMATS)


def figures() -> list[str]:
    """Names of all figures."""
    return [name for _, name, _ in pkgutil.iter_modules(__path__) if name.startswith("fig") or name in _WITHOUT_TABLE]


def draw(figure: str, results: Path | None, out: Path, kinds: Sequence[str] = KINDS) -> list[Path]:
    """Draw a figure from a results table (default: the figure's own) and write `out/FIGURE.png` and `.svg`.

    figure: a name, or the path of a user's `.py` file.  kinds: the formats to write.
    Raises UsageError for an unknown figure, an invalid table, or a folder that cannot be written.
    """
    if results is not None and figure in _WITHOUT_TABLE:
        raise UsageError(f"{figure} shows no results; leave out --results {results}")
    module = _module(figure)
    with style.applied():
        return _saved(_drawn(module, figure, results), Path(figure).stem, out, kinds)


def draw_accuracy(results: Path | None, view: "SeriesView", out: Path) -> list[Path]:
    """Draw any table in this view as `out/Y_by_X`, such as accuracy_by_n, with panel and colour in the name if they are
    not the usual ones.  Raises UsageError as `draw` does."""
    from .accuracy import draw_figure, read_table

    usual = type(view)()
    names = [f"_{part}_{told}" for part in ("panel", "color") if (told := getattr(view, part)) != getattr(usual, part)]
    name = f"{view.y}_by_{view.x}{''.join(names)}"

    with style.applied():
        return _saved(draw_figure(read_table(results or _told(DEFAULT_TABLE), view)), name, out)


def draw_curves(runs: Sequence[Path], out: Path) -> list[Path]:
    """Draw the learning curves of these runs as `out/curves`.  Raises UsageError as `draw` does."""
    from .curves import draw_figure, read_curves

    with style.applied():
        return _saved(draw_figure(read_curves(runs)), "curves", out)


def _module(figure: str) -> ModuleType:
    """Raises UsageError for an unknown name, and for a file without `draw_figure`."""
    if figure.endswith(".py"):
        module = run_file(Path(figure), "figure", UsageError)
        if not callable(getattr(module, "draw_figure", None)):
            raise UsageError(f"{figure} defines no draw_figure(results)")
        return module
    if figure not in figures():
        raise unknown("figure", figure, [*figures(), *GENERAL, "path/to/your_file.py"])
    return import_module(f"{__name__}.{figure}")


def _drawn(module: ModuleType, figure: str, results: Path | None) -> Any:
    """What a module draws.  Raises UsageError, with the line, if a user's file fails."""
    if not figure.endswith(".py"):
        return _read_and_drawn(module, figure, results)
    try:
        with contained():
            return _read_and_drawn(module, figure, results)
    except UsageError:
        raise
    except Exception as error:
        raise UsageError(f"figure {figure} fails: {fault(error)}") from error


def _read_and_drawn(module: ModuleType, figure: str, results: Path | None) -> Any:
    if figure in _WITHOUT_TABLE:
        return module.draw_figure()
    read = getattr(module, "read_table", read_results)
    return module.draw_figure(read(results or _told(Path(getattr(module, "DEFAULT_TABLE", DEFAULT_TABLE)))))


def _told(table: Path) -> Path:
    """A figure's own table, which is drawn if none is named."""
    print(f"no --results: the table is {table}", file=sys.stderr)
    return table


def _saved(drawn: Any, name: str, out: Path, kinds: Sequence[str] = KINDS) -> list[Path]:
    if not isinstance(drawn, Figure):
        raise UsageError(f"draw_figure of {name} returns a {type(drawn).__name__}, not a matplotlib Figure")
    return [_save(drawn, out / f"{name}.{kind}", kind) for kind in kinds]


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
