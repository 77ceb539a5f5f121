"""Heads over a language model's token states: does reading them in order help?"""

from typing import Any


def __getattr__(name: str) -> Any:
    """Import `EXPERIMENT` only when it is used: its module needs torch."""
    if name != "EXPERIMENT":
        raise AttributeError(name)
    from retrieval_gap.experiments.heads.config import HeadsConfig

    return HeadsConfig
