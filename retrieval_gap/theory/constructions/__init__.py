"""Theorems as programs: explicit weights that do what "RNNs are not Transformers (Yet)" proves possible.

docs/constructions.md describes them.  Files that define `BUILDERS` are found automatically.
"""

import importlib

from retrieval_gap.machine.errors import unknown
from retrieval_gap.tasks.registry import class_names
from retrieval_gap.theory.constructions.construction import Builder, Construction
from retrieval_gap.theory.constructions.precision import Precision

__all__ = ["Builder", "Construction", "Precision", "builder", "builders"]


def builders() -> dict[tuple[str, str], Builder]:
    """Every builder, by (task, how)."""
    found: dict[tuple[str, str], Builder] = {}
    for name in class_names(__name__, "BUILDERS"):
        found |= importlib.import_module(f"{__name__}.{name}").BUILDERS
    return found


def builder(task: str, how: str) -> Builder:
    """The builder of this task's construction.  Raises UsageError, with the valid choices, if there is none."""
    known = builders()
    if (task, how) not in known:
        ways = sorted(way for name, way in known if name == task)
        raise (
            unknown(f"construction of {task}", how, ways)
            if ways
            else unknown("task with a construction", task, sorted({name for name, _ in known}))
        )
    return known[task, how]
