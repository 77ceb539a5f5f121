r"""c-gram retrieval: read n tokens, then the first c - 1 tokens of one of their c-grams; name that c-gram's last token.

"RNNs are not Transformers (Yet)", Wen, Dang, Lyu (ICLR 2025), section 4.2; c = 2 is associative recall.  The problems
are hard instances of known entropy: the sequence is n // c grams, each a key of c - 1 digits and a value.  Keys count
from 0 in the smallest base that has enough of them, each occurs once, and the grams come in a uniform order; values
are independent and uniform over `values` letters; the key asked for is uniform.  n mod c fillers `_` come first.  A key
is nowhere else in the sequence, because a letter follows every c - 1 digits.  (n // c) log2(values) bits must cross.

Worked example, n = 13, c = 3: four keys 0 0, 0 1, 1 0, 1 1; the key 1 0 is asked for:

    direct  [BOS] _ 0 1 c 1 1 a 0 0 p 1 0 a [EOS] 1 0 a
    rag     [BOS] ... [EOS] 1 0 [STARTSEARCH] (?:^|\s) 1 \s 0 \s(\S+) [ENDSEARCH] a [EOS] a

With `--query first` the key follows `[BOS]`, and the search begins after it.

Axes: B samples, L positions, M grams, C tokens of a key.

    >>> from retrieval_gap.tasks.registry import shown
    >>> print(shown("cgram_retrieval", n=12, mode="rag", options="c=3 values=4"))  # doctest: +NORMALIZE_WHITESPACE
    [BOS] 0 0 a 1 0 d 0 1 d 1 1 b [EOS] 1 0 [STARTSEARCH] (?:^|\s) 1 \s 0 \s(\S+) [ENDSEARCH] d [EOS] d
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from .api import CONTROL_TOKENS, ENDSEARCH, EOS, STARTSEARCH, Batch, TaskConfig, TaskError, TaskOptions, check_option
from .associative_recall import NEXT, WORD, word_behind
from .index import MOST_REPEATS
from .recall import FILLER, Piece, QueryOptions, RecallTask, grams, letters, write_traces

SPACE = r"\s"

_WORD = len(CONTROL_TOKENS)
_SPACE, _NEXT, _FILLER, _VALUE_0 = (_WORD + k for k in range(1, 5))


@dataclass(frozen=True, kw_only=True)
class CgramOptions(QueryOptions):
    """c: tokens per gram.  values: number of letters that a gram can end in."""

    c: int = 3
    values: int = 16


class CgramRetrieval(RecallTask):
    """The task; a sequence holds two grams or more.  Raises TaskError for a search that RE2 does not accept."""

    name: ClassVar[str] = "cgram_retrieval"
    n_range: ClassVar[tuple[int, int]] = (4, 4096)
    options_type: ClassVar[type[TaskOptions]] = CgramOptions
    options: CgramOptions

    def __init__(self, config: TaskConfig) -> None:
        super().__init__(config)
        if config.mode == "rag" and self.asks_first and self.options.c - 1 > MOST_REPEATS:
            raise TaskError(
                f"{self.name}: with --query first a search skips c - 1 = {self.options.c - 1} words, and RE2 repeats "
                f"at most {MOST_REPEATS:,} times: --c {MOST_REPEATS + 1} or less, or another mode"
            )

    def settle(self, options: CgramOptions, n: int) -> CgramOptions:
        check_option(self.name, "c", options.c, 2, n // 2)
        check_option(self.name, "values", options.values, 2, 512)
        return options

    @cached_property
    def vocabulary(self) -> tuple[str, ...]:
        digits = map(str, range(int(self._key_digits.max()) + 1))
        word = word_behind(self.options.c - 1) if self.asks_first else WORD
        return (*CONTROL_TOKENS, word, SPACE, NEXT, FILLER, *letters(self.options.values), *digits)

    @property
    def answers(self) -> tuple[int, ...]:
        return tuple(range(_VALUE_0, _VALUE_0 + self.options.values))

    @property
    def bits_to_cross(self) -> float:
        return self._grams * math.log2(self.options.values)

    @property
    def max_length(self) -> int:
        """All traces have this length: a prompt of n + 2 tokens and the key, then 1 or 2c + 4 tokens."""
        c = self.options.c
        return self.config.n + 1 + c + (1 if self.config.mode == "direct" else 2 * c + 4)

    @property
    def _grams(self) -> int:
        return self.config.n // self.options.c

    @cached_property
    def _key_digits(self) -> NDArray[np.int32]:
        """The digits of each key (MxC)."""
        places, base = self.options.c - 1, 2
        while base**places < self._grams:
            base += 1
        weight_C = [min(base**place, self._grams) for place in reversed(range(places))]  # capped: no overflow
        return (np.arange(self._grams)[:, None] // np.array(weight_C) % base).astype(np.int32)

    def sample(self, index_B: NDArray[np.int64]) -> Batch:
        value_BxM, order_BxM, asked_B = self.draw(index_B, self._grams, self.options.values, shuffled=True)
        token_BxM = _VALUE_0 + value_BxM
        key_MxC = _VALUE_0 + self.options.values + self._key_digits
        answer_B = token_BxM[np.arange(len(token_BxM)), asked_B]
        sequence_BxN = grams(key_MxC, token_BxM, order_BxM)
        query_BxC = key_MxC[asked_B]
        filler: list[Piece] = [_FILLER] * (self.config.n % self.options.c)
        prompt = self.prompt([*filler, sequence_BxN], query_BxC)
        if self.config.mode == "direct":
            return write_traces(prompt, [answer_B])
        spaced: list[Piece] = [piece for query_B in query_BxC.T for piece in (_SPACE, query_B)]
        search: list[Piece] = [STARTSEARCH, _WORD, *spaced[1:], _NEXT, ENDSEARCH, answer_B]
        return write_traces(prompt, [*search, EOS, answer_B])


TASK = CgramRetrieval
