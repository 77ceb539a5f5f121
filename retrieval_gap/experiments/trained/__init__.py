"""Models that are trained here: one run, from its configuration to its row."""

from typing import Any


def __getattr__(name: str) -> Any:
    """`EXPERIMENT`, whose module needs torch, only when it is asked for."""
    if name != "EXPERIMENT":
        raise AttributeError(name)
    from retrieval_gap.experiments.trained.config import RunConfig

    return RunConfig
