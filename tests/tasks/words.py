"""Traces as words, and searches run the slow, textual way.

Axes: B samples, L positions.
"""

import re
from collections.abc import Iterator

import numpy as np
import re2

from retrieval_gap.tasks.api import Batch, Task


def spell(task: Task, tokens: np.ndarray) -> list[str]:
    return [task.vocabulary[token] for token in tokens]


def rows(task: Task, batch: Batch) -> Iterator[tuple[list[str], list[int]]]:
    """Words and loss mask of each sample, without padding."""
    for tokens_L, mask_L, length in zip(batch.tokens_BxL, batch.loss_mask_BxL, batch.length_B, strict=True):
        yield spell(task, tokens_L[:length]), mask_L[:length].astype(int).tolist()


def textual_search(task: Task, words: list[str], engine: str = "re2") -> str:
    """The result of the search that the last word, `[ENDSEARCH]`, closes (definition A.5 of the paper)."""
    starts = [t for t, word in enumerate(words[:-1]) if word == "[STARTSEARCH]"]
    if words[-1] != "[ENDSEARCH]" or not starts:
        return "[FAILED]"
    pattern = task.search_pattern(words[starts[-1] + 1 : -1])
    text = " ".join(words[: starts[-1]])
    if pattern is None:
        return "[FAILED]"
    match = (re2 if engine == "re2" else re).search(pattern, text)
    groups = [] if match is None else [group for group in match.groups() if group]
    return groups[0] if groups and groups[0] in task.vocabulary else "[FAILED]"
