"""Measure where a fixed-size state stops being enough for in-context retrieval, and what gives it back."""

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from retrieval_gap.api import (
        DecodedSample,
        LoadedRun,
        RunConfig,
        RunOptions,
        SweepOptions,
        bound_of,
        load_run,
        load_task,
        read_rows,
        sweep,
        train_run,
        with_defaults,
    )

__version__ = "0.1.0"
__all__ = [
    "DecodedSample",
    "LoadedRun",
    "RunConfig",
    "RunOptions",
    "SweepOptions",
    "bound_of",
    "load_run",
    "load_task",
    "read_rows",
    "sweep",
    "train_run",
    "with_defaults",
]

# GNU OpenMP's threads spin for milliseconds while they wait for work: two programs on the same cores then slow each
# other down, up to 25-fold (docs/cpu.md).  OpenMP reads this when torch is imported; a user's own setting stays.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "2000")


def __getattr__(name: str) -> Any:
    """Return a name of `retrieval_gap.api`, which is imported (and torch with it) at the first use."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from retrieval_gap import api

    return getattr(api, name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
