"""Grids: presets (functions that return cells, the most informative first), a user's file, or lists of values."""

import importlib
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from retrieval_gap.experiments.grids.product import product_cells, replaced_cells
from retrieval_gap.experiments.trained.config import RunConfig
from retrieval_gap.machine.errors import UsageError, fault, unknown
from retrieval_gap.runs.experiment import Experiment
from retrieval_gap.tasks.api import TaskError
from retrieval_gap.tasks.containment import contained
from retrieval_gap.tasks.registry import run_file

# The `PRESETS` of every module here, in the order of the modules' names.
PRESETS: dict[str, Callable[[], Sequence[Experiment]]] = {
    name: function
    for module in pkgutil.iter_modules(__path__)
    for name, function in getattr(importlib.import_module(f"{__name__}.{module.name}"), "PRESETS", {}).items()
}


def preset_cells(name: str) -> list[Experiment]:
    """The cells of a preset.  Raises UsageError for an unknown name."""
    if name not in PRESETS:
        raise unknown("preset", name, [*PRESETS, "path/to/your_grid.py"])
    return list(PRESETS[name]())


def file_cells(path: Path) -> list[Experiment]:
    """The cells of a user's grid, from `cells()` of the file.  Raises UsageError for a file that has none."""
    module = run_file(path, "grid", UsageError)
    if not callable(getattr(module, "cells", None)):
        raise UsageError(f"{path} defines no cells(), which gives the grid's experiments")
    try:
        with contained():
            given = module.cells()
            cells = [] if given is None else [given] if isinstance(given, Experiment) else list(given)
    except (UsageError, TaskError):
        raise
    except Exception as error:
        raise UsageError(f"cells() of {path} fails: {fault(error)}") from error
    wrong = [cell for cell in cells if not isinstance(cell, Experiment)]
    if wrong or not cells:
        told = f"a {type(wrong[0]).__name__} among them" if wrong else "none"
        raise UsageError(f"cells() of {path} returns {told}; expected a list of experiments, such as RunConfig(...)")
    return list(dict.fromkeys(cells))


def named_cells(name: str) -> list[Experiment]:
    """The cells of a preset, or of a user's file that ends in .py.  Raises UsageError for an unknown name."""
    return file_cells(Path(name)) if name.endswith(".py") else preset_cells(name)


def grid_cells(name: str, lists: Mapping[str, str], options: str = "", *, paper: bool = False) -> list[Experiment]:
    """The cells that a command line names: a preset or a file by `name`, or the lists alone if `name` is "".

    lists: values by field of `RunConfig`; with a grid of trained runs they replace its own.
    Raises UsageError for invalid input.
    """
    if not name:
        return list(product_cells(lists, options, paper=paper))
    if paper:
        raise UsageError(f"--paper fills in what lists of values leave open; {name} names all of its settings")
    cells = named_cells(name)
    if not any(lists.values()) and not options:
        return cells
    trained = [cell for cell in cells if isinstance(cell, RunConfig)]
    if len(trained) != len(cells) or options:
        raise UsageError(f"{name}: flags such as --arch change grids of trained runs alone, and no task's own options")
    return list(replaced_cells(trained, lists))
