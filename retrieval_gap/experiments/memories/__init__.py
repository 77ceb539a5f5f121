"""Text memories on streams: one method, on a number of streams, with one model."""

from typing import Any


def __getattr__(name: str) -> Any:
    """Import `EXPERIMENT` only when it is used: its module needs numba."""
    if name != "EXPERIMENT":
        raise AttributeError(name)
    from retrieval_gap.experiments.memories.cell import MemoryCell

    return MemoryCell
