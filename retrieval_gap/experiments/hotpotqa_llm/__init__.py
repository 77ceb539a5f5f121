"""Pretrained language models on HotpotQA: methods, prompts, scoring, the table."""

from typing import Any


def __getattr__(name: str) -> Any:
    """Import `EXPERIMENT` only when it is used: its module needs the task."""
    if name != "EXPERIMENT":
        raise AttributeError(name)
    from retrieval_gap.experiments.hotpotqa_llm.experiment import HotpotQARun

    return HotpotQARun
