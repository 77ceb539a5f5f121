"""The retrievers that decoding executes: when a search ends, they read the sample's own context and append the result.

Axes: B samples, L positions, R tokens of the longest result.
Source: in-context RAG, definition A.5 of "RNNs are not Transformers (Yet)": when `[ENDSEARCH]` is written, the tokens
between the last `[STARTSEARCH]` and it are a query on the text before that `[STARTSEARCH]`; the match is appended, or
`[FAILED]`.
"""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
import re2
from numpy.typing import NDArray

from retrieval_gap.choices import RetrieverName
from retrieval_gap.machine.errors import UsageError
from retrieval_gap.tasks.api import ENDSEARCH, FAILED, PAD, STARTSEARCH, Passage, Task

# A pattern written by a model may ask for a huge automaton; RE2 refuses past this many bytes.
PATTERN_MEMORY = 1 << 20


def pattern_options() -> re2.Options:
    """Options to compile a pattern that a model wrote: bounded memory, no messages from RE2."""
    options = re2.Options()
    options.log_errors = False
    options.max_mem = PATTERN_MEMORY
    return options


@runtime_checkable
class Retriever(Protocol):
    """Answers, for each sample, the search that ends at `length_B`."""

    def __call__(self, tokens_BxL: NDArray[np.int32], length_B: NDArray[np.int32]) -> NDArray[np.int32]:
        """Results_BxR, right-padded with `PAD`; a malformed query or no match gives `[FAILED]`."""


class RegexRetriever:
    """The exact retriever: the query becomes a regular expression, run by RE2 in time linear in the context."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._spelling = np.array(task.vocabulary, dtype=object)
        self._number = {word: i for i, word in enumerate(task.vocabulary)}
        self._options = pattern_options()

    def __call__(self, tokens_BxL: NDArray[np.int32], length_B: NDArray[np.int32]) -> NDArray[np.int32]:
        found = [self._search(row[:n]) for row, n in zip(tokens_BxL, length_B, strict=True)]
        results_BxR = np.full((len(found), max(map(len, found), default=1)), PAD, np.int32)
        for row, words in zip(results_BxR, found, strict=True):
            row[: len(words)] = words
        return results_BxR

    def _search(self, tokens_L: NDArray[np.int32]) -> list[int]:
        starts = np.flatnonzero(tokens_L[:-1] == STARTSEARCH)
        if len(tokens_L) == 0 or tokens_L[-1] != ENDSEARCH or len(starts) == 0:
            return [FAILED]
        start = starts[-1]
        pattern = self._task.search_pattern(list(self._spelling[tokens_L[start + 1 : -1]]))
        if pattern is None:
            return [FAILED]
        try:
            compiled = re2.compile(pattern, self._options)
        except re2.error:
            return [FAILED]
        passages = self._task.passages(tokens_L[:start])
        if passages is not None:
            return _first_passage(passages, [compiled.search(passage.text) is not None for passage in passages])
        match = compiled.search(" ".join(self._spelling[tokens_L[:start]]))
        text = next((group for group in match.groups() if group), "") if match else ""
        words = [self._number.get(word) for word in text.split()]
        return [FAILED] if not words or None in words else [w for w in words if w is not None]


def _first_passage(passages: Sequence[Passage], matches: Sequence[bool]) -> list[int]:
    """The tokens of the first passage that matches; `[FAILED]` where none matches, or all of several do."""
    says_nothing = len(passages) > 1 and all(matches)
    if says_nothing or True not in matches:
        return [FAILED]
    return list(passages[matches.index(True)].tokens) or [FAILED]


class FastRetriever:
    """The task's own search over token numbers: the same answers, without text."""

    def __init__(self, task: Task) -> None:
        self._task = task

    def __call__(self, tokens_BxL: NDArray[np.int32], length_B: NDArray[np.int32]) -> NDArray[np.int32]:
        result_B = self._task.fast_search(tokens_BxL, length_B)
        assert result_B is not None, "make_retriever lets no task in that lacks it"
        return result_B[:, None]


def make_retriever(task: Task, name: RetrieverName | None = None) -> Retriever:
    """The retriever `name`; by default the fast one where the task has one, else the exact one.

    Raises UsageError for `fast` where the task has no fast search.
    """
    has_fast = type(task).fast_search is not Task.fast_search
    if name == "fast" and not has_fast:
        raise UsageError(f"task {task.name!r} has no fast search; use --retriever regex")
    return FastRetriever(task) if name == "fast" or (name is None and has_fast) else RegexRetriever(task)
