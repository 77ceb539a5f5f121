"""Experiments with theorems as programs: a construction on a task's samples, a Turing machine on a word."""

from typing import Any


def __getattr__(name: str) -> Any:
    """`EXPERIMENT`, whose module needs torch, only when it is asked for."""
    if name != "EXPERIMENT":
        raise AttributeError(name)
    from retrieval_gap.experiments.constructions.config import Setup

    return Setup
