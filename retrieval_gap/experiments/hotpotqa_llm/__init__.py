"""HotpotQA put to language models as they are: methods, prompts, scoring, the table."""

from typing import Any


def __getattr__(name: str) -> Any:
    """`EXPERIMENT`, whose module needs the task, only when it is asked for."""
    if name != "EXPERIMENT":
        raise AttributeError(name)
    from retrieval_gap.experiments.hotpotqa_llm.experiment import HotpotQARun

    return HotpotQARun
