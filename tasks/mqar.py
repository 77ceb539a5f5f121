"""MQAR, multi-query associative recall: pairs of a key and its value, then every key again, among fillers.

As Zoology defines it (Arora et al. 2023, arXiv 2312.04927; docs/theory.md compares its generator's output): of `vocab`
words, `pairs` different keys from the first half (word 0 is left out) and as many different values from the second,
uniform; they fill the first 2 `pairs` of n tokens.  The rest is slots of two tokens.  The keys, in the order of the
pairs, take slots that are drawn without replacement with P(slot j) proportional to (j + 1)^(power - 1), j = 0, 1, ...:
a small `power` puts queries soon after the pairs, 1 anywhere.  All other tokens are fillers: words drawn from the whole
vocabulary (family `random_filler`) or word 0 (`zero_filler`).  The token after each query is the key's value; only it
is graded, and a search.

Zoology has the value as a label and a filler in the input; here the value is in the trace, and decoding supplies the
fillers and the next key after each answer.  A trace ends with its last answer.  The entropy of the values given their
keys must cross from the pairs to the queries: log2(V (V-1) ... (V-pairs+1)) bits, V the size of the second half.

Worked example, vocab = 32, pairs = 2, n = 12 (slots 0 and 2 of 4 are taken):

    direct  [BOS] 3 28 5 17 3 28 9 21 5 17
    rag     [BOS] 3 28 5 17 3 [STARTSEARCH] (?:^|\\s) 3 \\s(\\S+) [ENDSEARCH] 28 28 9 21 5 [STARTSEARCH] ... 17 17

Axes: B samples, L positions, P pairs, S slots, V words of the vocabulary.

    >>> from retrieval_gap.tasks.registry import shown
    >>> print(shown("mqar", n=16, mode="direct", options="pairs=4 vocab=64"))  # doctest: +NORMALIZE_WHITESPACE
    [BOS] 15 55 28 54 11 49 27 39 15 55 11 49 28 54 27 39
"""

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .api import (
    BOS,
    CONTROL_TOKENS,
    ENDSEARCH,
    STARTSEARCH,
    Batch,
    TaskConfig,
    TaskError,
    TaskOptions,
    check_option,
)
from .associative_recall import NEXT, WORD
from .compiled import njit
from .randomness import SPLITS, Rng, below, draw, mix, split_of, start
from .recall import Ints, RecallTask

_WORD = len(CONTROL_TOKENS)
_NEXT = _WORD + 1
_WORD_0 = _NEXT + 1
_SEARCH_TOKENS = 6  # what a search adds to a query
_FREE = -1
_HALF = np.uint64(32)


class _Wanted(NamedTuple):
    """What all samples share: split, options, chances of the slots, whether fillers are random and queries search."""

    split: int
    pairs: int
    vocab: int
    threshold_S: NDArray[np.uint64]
    random_filler: bool
    searched: bool


@dataclass(frozen=True, kw_only=True)
class MqarOptions(TaskOptions):
    """vocab: number of words.  pairs: number of keys with a value; 0 means n/16, as in Zoology's sizes, at least 1.
    power: exponent of the gaps, in (0, 1]."""

    vocab: int = 8192
    pairs: int = 0
    power: float = 0.01


class Mqar(RecallTask):
    """The task; n counts the tokens of pairs and slots, not of searches.  Raises TaskError for an odd n."""

    name: ClassVar[str] = "mqar"
    families: ClassVar[tuple[str, ...]] = ("random_filler", "zero_filler")
    n_range: ClassVar[tuple[int, int]] = (4, 8192)
    options_type: ClassVar[type[TaskOptions]] = MqarOptions
    options: MqarOptions

    def __init__(self, config: TaskConfig) -> None:
        if config.n % 2:
            raise TaskError(f"{self.name}: {self.size_flag} {config.n} is odd, and keys and values come in pairs")
        super().__init__(config)

    def settle(self, options: MqarOptions, n: int) -> MqarOptions:
        options = replace(options, pairs=options.pairs or max(1, n // 16))
        check_option(self.name, "vocab", options.vocab, 4, 1 << 20)
        check_option(self.name, "pairs", options.pairs, 1, min(n // 4, options.vocab // 2 - 1))
        check_option(self.name, "power", options.power, 1e-6, 1.0)
        return options

    @cached_property
    def vocabulary(self) -> tuple[str, ...]:
        return (*CONTROL_TOKENS, WORD, NEXT, *map(str, range(self.options.vocab)))

    @property
    def answers(self) -> tuple[int, ...]:
        vocab = self.options.vocab
        return tuple(range(_WORD_0 + vocab // 2, _WORD_0 + vocab))

    @property
    def questions(self) -> int:
        return self.options.pairs

    @property
    def bits_to_cross(self) -> float:
        values = self.options.vocab - self.options.vocab // 2
        return sum(math.log2(values - taken) for taken in range(self.options.pairs))

    @property
    def context_len(self) -> int:
        """`[BOS]` and the pairs; fillers and queries follow."""
        return 1 + 2 * self.options.pairs

    @property
    def max_length(self) -> int:
        """`[BOS]`, pairs and slots, the last slot a query; a search adds 6 tokens to each query."""
        return 1 + self.config.n + (0 if self.config.mode == "direct" else _SEARCH_TOKENS * self.options.pairs)

    @cached_property
    def _slot_thresholds(self) -> NDArray[np.uint64]:
        """Cumulative chances of the slots, in units of 2^-32, rounded: the same integers on every machine."""
        slots = self.config.n // 2 - self.options.pairs
        chance_S = np.arange(1, slots + 1) ** (self.options.power - 1)
        return np.rint(2**32 * np.cumsum(chance_S) / chance_S.sum()).astype(np.uint64)

    def sample(self, index_B: NDArray[np.int64]) -> Batch:
        index_B = np.asarray(index_B, np.int64)
        batch = len(index_B)
        tokens_BxL = np.zeros((batch, self.max_length), np.int32)
        loss_mask_BxL = np.zeros((batch, self.max_length), np.bool_)
        prompt_len_B, length_B = np.empty(batch, np.int32), np.empty(batch, np.int32)
        wanted = _Wanted(
            split=SPLITS.index(self.config.split),
            pairs=self.options.pairs,
            vocab=self.options.vocab,
            threshold_S=self._slot_thresholds,
            random_filler=self.family == "random_filler",
            searched=self.config.mode == "rag",
        )
        _sample_traces(wanted, self.problem_key, index_B, tokens_BxL, loss_mask_BxL, prompt_len_B, length_B)
        width = int(length_B.max(initial=1))
        return Batch(
            tokens_BxL=np.ascontiguousarray(tokens_BxL[:, :width]),
            loss_mask_BxL=np.ascontiguousarray(loss_mask_BxL[:, :width]),
            prompt_len_B=prompt_len_B,
            length_B=length_B,
            answer_B=tokens_BxL[np.arange(batch), length_B - 1],
        )


TASK = Mqar


@njit(cache=True, nogil=True)
def _draw_pairs(rng: Rng, vocab: int, seen_V: NDArray[np.int64], mark: int, key_P: Ints, value_P: Ints) -> np.uint64:
    """Draw different keys and different values, as words; return the hash of the pairs.  `mark` is new to `seen_V`."""
    half = vocab // 2
    pairs_hash = np.uint64(len(key_P))
    for p in range(len(key_P)):
        word = 1 + below(rng, half - 1)
        while seen_V[word] == mark:
            word = 1 + below(rng, half - 1)
        seen_V[word] = mark
        key_P[p] = word
        word = half + below(rng, vocab - half)
        while seen_V[word] == mark:
            word = half + below(rng, vocab - half)
        seen_V[word] = mark
        value_P[p] = word
        pairs_hash += mix((np.uint64(key_P[p]) << np.uint64(32)) + np.uint64(word))
    return mix(pairs_hash)


@njit(cache=True, nogil=True)
def _draw_slots(rng: Rng, threshold_S: NDArray[np.uint64], pairs: int, pair_S: Ints) -> None:
    """Fill in the pair that each slot asks for, or `_FREE`: pair by pair, a slot is drawn until it is free."""
    pair_S[:] = _FREE
    for p in range(pairs):
        slot = np.searchsorted(threshold_S, draw(rng) >> _HALF, side="right")
        while pair_S[slot] != _FREE:
            slot = np.searchsorted(threshold_S, draw(rng) >> _HALF, side="right")
        pair_S[slot] = p


@njit(cache=True, nogil=True)
def _write_query(out_L: Ints, graded_L: NDArray[np.bool_], at: int, key: int, value: int, searched: bool) -> int:
    """Write the key, its search if wanted, and the value; return the position after them."""
    out_L[at] = key
    at += 1
    if searched:
        out_L[at] = STARTSEARCH
        out_L[at + 1] = _WORD
        out_L[at + 2] = key
        out_L[at + 3] = _NEXT
        out_L[at + 4] = ENDSEARCH
        graded_L[at : at + 5] = True
        out_L[at + 5] = value
        at += _SEARCH_TOKENS
    out_L[at] = value
    graded_L[at] = True
    return at + 1


@njit(cache=True, nogil=True)
def _sample_traces(
    wanted: _Wanted,
    key: np.uint64,
    index_B: NDArray[np.int64],
    tokens_BxL: Ints,
    loss_mask_BxL: NDArray[np.bool_],
    prompt_len_B: Ints,
    length_B: Ints,
) -> None:
    """Draw pairs until the split owns them and slots for their queries; write the trace up to its last answer."""
    pairs, vocab = wanted.pairs, wanted.vocab
    rng = np.empty(1, np.uint64)
    seen_V = np.zeros(vocab, np.int64)
    word_2xP = np.empty((2, pairs), np.int32)
    pair_S = np.empty(len(wanted.threshold_S), np.int32)
    mark = 0
    for b in range(len(index_B)):
        attempt, owner = 0, -1
        while owner != wanted.split:
            start(rng, key, index_B[b], attempt)
            attempt += 1
            mark += 1
            owner = split_of(_draw_pairs(rng, vocab, seen_V, mark, word_2xP[0], word_2xP[1]))
        _draw_slots(rng, wanted.threshold_S, pairs, pair_S)
        out_L = tokens_BxL[b]
        out_L[0] = BOS
        for p in range(pairs):
            out_L[1 + 2 * p] = _WORD_0 + word_2xP[0, p]
            out_L[2 + 2 * p] = _WORD_0 + word_2xP[1, p]
        at, slot, left = 1 + 2 * pairs, 0, pairs
        while left > 0:
            p = pair_S[slot]
            slot += 1
            if p == _FREE:
                for t in range(at, at + 2):
                    out_L[t] = _WORD_0 + (below(rng, vocab) if wanted.random_filler else 0)
                at += 2
                continue
            if left == pairs:
                prompt_len_B[b] = at + 1
            key_token, value_token = _WORD_0 + word_2xP[0, p], _WORD_0 + word_2xP[1, p]
            at = _write_query(out_L, loss_mask_BxL[b], at, key_token, value_token, wanted.searched)
            left -= 1
        length_B[b] = at
