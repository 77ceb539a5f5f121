r"""Counting: read n tokens, then a token and a threshold k; does the token occur more than k times?

"RNNs are not Transformers (Yet)", Wen, Dang, Lyu (ICLR 2025), section 4.2.  The problems are hard instances of known
entropy: each of n // `most` letters occurs 0 to `most` times, uniform and independent of the others, fillers `_` make
up the rest of the sequence, and all is in a uniform order.  The letter asked for is uniform, and so is k in 0..most-1.
The answers to all questions determine every count: (n // most) log2(most + 1) bits must cross.  Half of all answers
are `[TRUE]`, at threshold k a share of (most - k) / (most + 1).  So the question alone allows an accuracy of the mean
over k of max(most - k, k + 1) / (most + 1): 2/3 at most = 2.

Worked example, n = 8, most = 2 (letters a, b, c, d); is there more than 1 b?

    direct  [BOS] b _ a b _ d _ _ [EOS] b 1 [TRUE]
    rag     [BOS] b _ a b _ d _ _ [EOS] b 1
            [STARTSEARCH] ^\[BOS\](?:(?:\s\w+)*?\s b \b){ 1 }(?:\s\w+)*?\s( b )\b [ENDSEARCH] b [EOS] [TRUE]

The search skips k occurrences of the letter, with anything between, and captures the next one: `[FAILED]` means no.
It matches letters and fillers only, so that it cannot pass `[EOS]` and count the question.

Axes: B samples, L positions, N tokens of the sequence, A letters.

    >>> from retrieval_gap.tasks.registry import shown
    >>> print(shown("counting", n=8, mode="rag", options="most=2"))  # doctest: +NORMALIZE_WHITESPACE
    [BOS] d _ a c _ c _ a [EOS] a 0 [STARTSEARCH] ^\[BOS\](?:(?:\s\w+)*?\s a \b){ 0 }(?:\s\w+)*?\s( a )\b
    [ENDSEARCH] a [EOS] [TRUE]
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from .api import (
    BOS,
    CONTROL_TOKENS,
    ENDSEARCH,
    EOS,
    FAILED,
    FALSE,
    STARTSEARCH,
    TRUE,
    Batch,
    TaskOptions,
    check_option,
)
from .compiled import njit
from .randomness import SPLITS, below, hash_on, mix, split_of, start
from .recall import FILLER, Ints, Piece, RecallTask, letters, shuffle, write_traces

SEEK, TIMES, ONCE_MORE, END = r"^\[BOS\](?:(?:\s\w+)*?\s", r"\b){", r"}(?:\s\w+)*?\s(", r")\b"
# The regular expression of a larger threshold exceeds the memory limit of a search.
MOST = 64

_SEEK = len(CONTROL_TOKENS)
_TIMES, _ONCE_MORE, _END, _FILLER, _LETTER_0 = (_SEEK + k for k in range(1, 6))


@dataclass(frozen=True, kw_only=True)
class CountingOptions(TaskOptions):
    """most: largest number of occurrences of a letter."""

    most: int = 2


class Counting(RecallTask):
    """The task."""

    name: ClassVar[str] = "counting"
    n_range: ClassVar[tuple[int, int]] = (2, 4096)
    options_type: ClassVar[type[TaskOptions]] = CountingOptions
    options: CountingOptions

    def settle(self, options: CountingOptions, n: int) -> CountingOptions:
        check_option(self.name, "most", options.most, 1, min(n, MOST))
        return options

    @cached_property
    def vocabulary(self) -> tuple[str, ...]:
        thresholds = map(str, range(self.options.most))
        return (*CONTROL_TOKENS, SEEK, TIMES, ONCE_MORE, END, FILLER, *letters(self._letters), *thresholds)

    @property
    def answers(self) -> tuple[int, ...]:
        return (TRUE, FALSE)

    @property
    def bits_to_cross(self) -> float:
        return self._letters * math.log2(self.options.most + 1)

    @property
    def max_length(self) -> int:
        """All traces have this length: n + 4 tokens of prompt, and 1 or 12 of target."""
        return self.config.n + (5 if self.config.mode == "direct" else 16)

    @property
    def _letters(self) -> int:
        return self.config.n // self.options.most

    def sample(self, index_B: NDArray[np.int64]) -> Batch:
        index_B = np.asarray(index_B, np.int64)
        token_BxN = np.empty((len(index_B), self.config.n), np.int32)
        question_3xB = np.empty((3, len(index_B)), np.int32)
        key, split = self.problem_key, SPLITS.index(self.config.split)
        _sample_problems(key, index_B, split, self.options.most, self._letters, token_BxN, question_3xB)
        asked_B, threshold_B, count_B = question_3xB
        letter_B = _LETTER_0 + asked_B
        number_B = _LETTER_0 + self._letters + threshold_B
        is_more_B = count_B > threshold_B
        answer_B = np.where(is_more_B, TRUE, FALSE).astype(np.int32)
        prompt: list[Piece] = [BOS, token_BxN, EOS, letter_B, number_B]
        if self.config.mode == "direct":
            return write_traces(prompt, [answer_B])
        found_B = np.where(is_more_B, letter_B, FAILED).astype(np.int32)
        query: list[Piece] = [_SEEK, letter_B, _TIMES, number_B, _ONCE_MORE, letter_B, _END]
        return write_traces(prompt, [STARTSEARCH, *query, ENDSEARCH, found_B, EOS, answer_B])


TASK = Counting


@njit(cache=True, nogil=True)
def _sample_problems(
    key: np.uint64,
    index_B: NDArray[np.int64],
    split: int,
    most: int,
    letters: int,
    token_BxN: Ints,
    question_3xB: Ints,
) -> None:
    """Draw the counts of all letters until the split owns them; then the sequence as tokens, and question_3xB: a
    letter, a threshold, the letter's count."""
    rng = np.empty(1, np.uint64)
    count_A = np.empty(letters, np.int32)
    for b in range(len(index_B)):
        attempt, owner = 0, -1
        while owner != split:
            start(rng, key, index_B[b], attempt)
            attempt += 1
            counts_hash = np.uint64(letters)
            for a in range(letters):
                count = below(rng, most + 1)
                count_A[a] = count
                counts_hash = hash_on(counts_hash, count)
            owner = split_of(mix(counts_hash))
        token_BxN[b] = _FILLER
        at = 0
        for a in range(letters):
            token_BxN[b, at : at + count_A[a]] = _LETTER_0 + a
            at += count_A[a]
        shuffle(rng, token_BxN[b])
        asked = below(rng, letters)
        question_3xB[0, b] = asked
        question_3xB[1, b] = below(rng, most)
        question_3xB[2, b] = count_A[asked]
