"""Models that are trained here: one run, from its configuration to its row."""

from typing import Any


def __getattr__(name: str) -> Any:
    """Import `EXPERIMENT` only when it is used: its module needs torch."""
    if name != "EXPERIMENT":
        raise AttributeError(name)
    from retrieval_gap.experiments.trained.config import RunConfig

    return RunConfig
