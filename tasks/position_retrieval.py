r"""Position retrieval: read a permutation of n tokens, then one of them; name its place.

The position task of "Retrievit" (arXiv 2603.02874), with a permutation, as in its text.  The permutation is uniform,
and so is the token: log2(n!) bits must cross from the sequence to the query.  With the query first (`--query first`)
log2(2n) bits are enough: the token sought, or the number of tokens since it was found.  At n = 200 these are 8.6 bits
instead of 1,245.

A regular expression cannot count, but it can test whether a token is among the first k: `rag` halves the remaining
places ceil(log2 n) times, beginning with the smallest power of two that is n or more, and reads the place off the
results. The number in a search is a token of its own (`4}(`), because a place ends decoding as the answer.

Worked example, n = 5, token c of the sequence b e c a d:

    direct  [BOS] b e c a d [EOS] c 3
    rag     [BOS] b e c a d [EOS] c [STARTSEARCH] ^(?:\S+\s){1, 4}( c )(?:\s|$) [ENDSEARCH] c
            [STARTSEARCH] ... 2}( c ... [ENDSEARCH] [FAILED] [STARTSEARCH] ... 3}( c ... [ENDSEARCH] c [EOS] 3

With `--query first` the prompt is `[BOS] c b e c a d [EOS]`, and the search begins after the query.

Axes: B samples, L positions, N tokens of the sequence, K searches, W tokens of a search and its result.

    >>> from retrieval_gap.tasks.registry import shown
    >>> print(shown("position_retrieval", n=6, mode="rag"))  # doctest: +NORMALIZE_WHITESPACE
    [BOS] f b a e c d [EOS] c [STARTSEARCH] ^(?:\S+\s){1, 4}( c )(?:\s|$) [ENDSEARCH] [FAILED] [STARTSEARCH]
    ^(?:\S+\s){1, 6}( c )(?:\s|$) [ENDSEARCH] c [STARTSEARCH] ^(?:\S+\s){1, 5}( c )(?:\s|$) [ENDSEARCH] c [EOS] 5
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from .api import CONTROL_TOKENS, ENDSEARCH, EOS, FAILED, STARTSEARCH, Batch, TaskOptions
from .compiled import njit
from .index import MOST_REPEATS
from .randomness import SPLITS, Rng, below, hash_on, mix, split_of, start
from .recall import Ints, QueryOptions, RecallTask, letters, shuffle, write_traces

AMONG, AMONG_BEHIND_QUERY = r"^(?:\S+\s){1,", r"^\S+\s(?:\S+\s){1,"
SOUGHT, END = "}(", r")(?:\s|$)"

_AMONG = len(CONTROL_TOKENS)
_END = _AMONG + 1
_PLACE_0 = _END + 1  # token of the first place
_WIDTH = 7  # [STARTSEARCH], the four tokens of a query, [ENDSEARCH], the result


@dataclass(frozen=True, kw_only=True)
class PositionOptions(QueryOptions):
    """The place of the query."""


class PositionRetrieval(RecallTask):
    """The task."""

    name: ClassVar[str] = "position_retrieval"
    n_range: ClassVar[tuple[int, int]] = (2, MOST_REPEATS)
    options_type: ClassVar[type[TaskOptions]] = PositionOptions
    options: PositionOptions

    @cached_property
    def vocabulary(self) -> tuple[str, ...]:
        places = [str(place) for place in range(1, self.config.n + 1)]
        among = AMONG_BEHIND_QUERY if self.asks_first else AMONG
        return (*CONTROL_TOKENS, among, END, *places, *(place + SOUGHT for place in places), *letters(self.config.n))

    @property
    def answers(self) -> tuple[int, ...]:
        return tuple(range(_PLACE_0, _PLACE_0 + self.config.n))

    @property
    def bits_to_cross(self) -> float:
        return math.log2(math.factorial(self.config.n))

    @property
    def max_length(self) -> int:
        """All traces have this length: n + 3 tokens of prompt, and 1, or 7 for each search plus 2."""
        return self.config.n + 3 + (1 if self.config.mode == "direct" else _WIDTH * self._searches + 2)

    @property
    def _searches(self) -> int:
        return (self.config.n - 1).bit_length()

    def sample(self, index_B: NDArray[np.int64]) -> Batch:
        n, index_B = self.config.n, np.asarray(index_B, np.int64)
        symbol_BxN, place_B = np.empty((len(index_B), n), np.int32), np.empty(len(index_B), np.int32)
        _sample_problems(self.problem_key, index_B, SPLITS.index(self.config.split), symbol_BxN, place_B)
        token_BxN = _PLACE_0 + 2 * n + symbol_BxN
        query_B = token_BxN[np.arange(len(token_BxN)), place_B]
        prompt = self.prompt([token_BxN], query_B)
        if self.config.mode == "direct":
            return write_traces(prompt, [_PLACE_0 + place_B])
        return write_traces(prompt, [self._search(query_B, place_B), EOS, _PLACE_0 + place_B])

    def _search(self, query_B: Ints, place_B: Ints) -> Ints:
        """All searches of a trace and their results; each finds a binary digit of the place (counted from 0)."""
        written_BxKxW = np.empty((len(query_B), self._searches, _WIDTH), np.int32)
        written_BxKxW[:, :, [0, 1, 4, 5]] = [STARTSEARCH, _AMONG, _END, ENDSEARCH]
        written_BxKxW[:, :, 3] = query_B[:, None]
        half_K = 1 << np.arange(self._searches)[::-1]
        known_BxK = place_B[:, None] & ~(2 * half_K - 1)  # the digits that earlier searches found
        among_BxK = np.minimum(known_BxK + half_K, self.config.n)
        written_BxKxW[:, :, 2] = _PLACE_0 + self.config.n - 1 + among_BxK
        written_BxKxW[:, :, 6] = np.where(place_B[:, None] < among_BxK, query_B[:, None], FAILED)
        return written_BxKxW.reshape(len(query_B), -1)

    @cached_property
    def _number(self) -> dict[str, int]:
        return {word: token for token, word in enumerate(self.vocabulary)}

    def search_pattern(self, query: Sequence[str]) -> str | None:
        tokens, n = [self._number.get(word, FAILED) for word in query], self.config.n
        if len(tokens) != 4 or tokens[0] != _AMONG or tokens[3] != _END:
            return None
        if not (_PLACE_0 + n <= tokens[1] < _PLACE_0 + 2 * n and tokens[2] >= _PLACE_0 + 2 * n):
            return None
        return "".join(query)

    def fast_search(self, tokens_BxL: NDArray[np.int32], length_B: NDArray[np.int32]) -> NDArray[np.int32]:
        result_B = np.empty(len(tokens_BxL), np.int32)
        _search_rows(tokens_BxL, length_B, self.config.n, 2 if self.asks_first else 1, result_B)
        return result_B


TASK = PositionRetrieval


@njit(cache=True, nogil=True)
def _permute(rng: Rng, symbol_N: Ints) -> None:
    for k in range(len(symbol_N)):
        symbol_N[k] = k
    shuffle(rng, symbol_N)


@njit(cache=True, nogil=True)
def _sample_problems(key: np.uint64, index_B: NDArray[np.int64], split: int, symbol_BxN: Ints, place_B: Ints) -> None:
    """Draw uniform permutations until the split owns them, then a uniform place to ask for."""
    rng = np.empty(1, np.uint64)
    n = symbol_BxN.shape[1]
    for b in range(len(index_B)):
        attempt, owner = 0, -1
        while owner != split:
            start(rng, key, index_B[b], attempt)
            attempt += 1
            _permute(rng, symbol_BxN[b])
            permutation_hash = np.uint64(n)
            for k in range(n):
                permutation_hash = hash_on(permutation_hash, symbol_BxN[b, k])
            owner = split_of(mix(permutation_hash))
        place_B[b] = below(rng, n)


@njit(cache=True, nogil=True)
def _search_rows(tokens_BxL: Ints, length_B: Ints, n: int, skipped: int, result_B: Ints) -> None:
    """The result of the search that ends each row: the token, if it is one of the k words after those skipped."""
    for b in range(len(tokens_BxL)):
        end, result_B[b] = length_B[b] - 1, FAILED
        begin = end - 5
        if begin < 0 or tokens_BxL[b, end] != ENDSEARCH or tokens_BxL[b, begin] != STARTSEARCH:
            continue
        bound, sought = tokens_BxL[b, begin + 2] - _PLACE_0 - n + 1, tokens_BxL[b, begin + 3]
        formed = tokens_BxL[b, begin + 1] == _AMONG and tokens_BxL[b, begin + 4] == _END
        if not formed or bound < 1 or bound > n or sought < _PLACE_0 + 2 * n:
            continue
        for t in range(skipped, min(skipped + bound, begin)):
            if tokens_BxL[b, t] == sought:
                result_B[b] = sought
