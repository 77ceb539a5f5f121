r"""Associative recall: read pairs of a key and its value, then a key; name the token that followed it.

The hard instances of "RNNs are not Transformers (Yet)", Wen, Dang, Lyu (ICLR 2025), section 4.2: n tokens,

    key 1, value, key 2, value, ..., key n/2, value; then one of the keys.

Keys are the numbers 1..n/2, each occurring once; values are the `values` numbers after n/2, independent and uniform (as
many values as keys by default, so that all tokens are in 1..n); the key asked for is uniform.  n/2 log2(values) bits
must cross from the sequence to the question, whatever the order of the pairs.  The family `hard` keeps the paper's
order, in which a key's place is known before anything is read; in `shuffled` the pairs come in a uniform order.
mqar.py asks for several keys.

Worked example, n = 8, key 2:

    direct  [BOS] 1 7 2 5 3 5 4 8 [EOS] 2 5
    rag     [BOS] 1 7 2 5 3 5 4 8 [EOS] 2 [STARTSEARCH] (?:^|\s) 2 \s(\S+) [ENDSEARCH] 5 [EOS] 5

With `--query first` the prompt is `[BOS] 2 1 7 2 5 3 5 4 8 [EOS]`, and the search begins after the query.

Axes: B samples, L positions, M pairs.

    >>> from retrieval_gap.tasks.registry import shown
    >>> print(shown("associative_recall", n=8, mode="rag", options="values=4"))  # doctest: +NORMALIZE_WHITESPACE
    [BOS] 1 6 2 6 3 5 4 7 [EOS] 3 [STARTSEARCH] (?:^|\s) 3 \s(\S+) [ENDSEARCH] 5 [EOS] 5
"""

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from .api import (
    CONTROL_TOKENS,
    ENDSEARCH,
    EOS,
    STARTSEARCH,
    Batch,
    TaskConfig,
    TaskError,
    TaskOptions,
    check_option,
)
from .recall import Piece, QueryOptions, RecallTask, grams, write_traces

# A search for the word after a key: the beginning of a word, the key, the next word.
WORD, NEXT = r"(?:^|\s)", r"\s(\S+)"


def word_behind(query: int) -> str:
    """The beginning of a search that skips `[BOS]` and a query of this many words."""
    return rf"^\S+(?:\s\S+){{{query}}}\s(?:\S+\s)*?"


_WORD = len(CONTROL_TOKENS)
_NEXT = _WORD + 1
_KEY_0 = _NEXT + 1


@dataclass(frozen=True, kw_only=True)
class RecallOptions(QueryOptions):
    """values: number of different values; 0 means n/2, as in the paper."""

    values: int = 0


class AssociativeRecall(RecallTask):
    """The task.  Raises TaskError for an odd n."""

    name: ClassVar[str] = "associative_recall"
    families: ClassVar[tuple[str, ...]] = ("hard", "shuffled")
    n_range: ClassVar[tuple[int, int]] = (4, 4096)
    options_type: ClassVar[type[TaskOptions]] = RecallOptions
    shared_options: ClassVar[tuple[str, ...]] = ("values",)
    options: RecallOptions

    def __init__(self, config: TaskConfig) -> None:
        if config.n % 2:
            raise TaskError(f"{self.name}: {self.size_flag} {config.n} is odd, and keys and values come in pairs")
        super().__init__(config)

    def settle(self, options: RecallOptions, n: int) -> RecallOptions:
        options = replace(options, values=options.values or n // 2)
        check_option(self.name, "values", options.values, 2, 4096)
        return options

    @cached_property
    def vocabulary(self) -> tuple[str, ...]:
        numbers = range(1, self._pairs + self.options.values + 1)
        word = word_behind(1) if self.asks_first else WORD
        return (*CONTROL_TOKENS, word, NEXT, *map(str, numbers))

    @cached_property
    def roles(self) -> tuple[str, ...]:
        """A number is a key at one n and a value at another."""
        keys = (f"key {key}" for key in range(1, self._pairs + 1))
        values = (f"value {value}" for value in range(1, self.options.values + 1))
        return (*self.vocabulary[:_KEY_0], *keys, *values)

    @property
    def answers(self) -> tuple[int, ...]:
        first = _KEY_0 + self._pairs
        return tuple(range(first, first + self.options.values))

    @property
    def bits_to_cross(self) -> float:
        return self._pairs * math.log2(self.options.values)

    @property
    def max_length(self) -> int:
        """All traces have this length: n + 3 tokens of prompt, and 1 or 8 of target."""
        return self.config.n + (4 if self.config.mode == "direct" else 11)

    @property
    def _pairs(self) -> int:
        return self.config.n // 2

    def sample(self, index_B: NDArray[np.int64]) -> Batch:
        shuffled = self.family == "shuffled"
        value_BxM, order_BxM, asked_B = self.draw(index_B, self._pairs, self.options.values, shuffled=shuffled)
        token_BxM = _KEY_0 + self._pairs + value_BxM
        key_Mx1 = np.arange(_KEY_0, _KEY_0 + self._pairs, dtype=np.int32)[:, None]
        answer_B = token_BxM[np.arange(len(token_BxM)), asked_B]
        sequence_BxN = grams(key_Mx1, token_BxM, order_BxM)
        query_B = _KEY_0 + asked_B
        prompt = self.prompt([sequence_BxN], query_B)
        if self.config.mode == "direct":
            return write_traces(prompt, [answer_B])
        search: list[Piece] = [STARTSEARCH, _WORD, query_B, _NEXT, ENDSEARCH, answer_B]
        return write_traces(prompt, [*search, EOS, answer_B])


TASK = AssociativeRecall
