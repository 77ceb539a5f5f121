"""Experiments with theorems as programs: a construction on a task's samples, a Turing machine on a word."""

from typing import Any


def __getattr__(name: str) -> Any:
    """Import `EXPERIMENT` only when it is used: its module needs torch."""
    if name != "EXPERIMENT":
        raise AttributeError(name)
    from retrieval_gap.experiments.constructions.config import Setup

    return Setup
