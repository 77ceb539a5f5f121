r"""Index: read n tokens, then a position; name the token there.  Also the example of a task in one file.

"RNNs are not Transformers (Yet)", Wen, Dang, Lyu (ICLR 2025), section 4.2.  The tokens are independent and uniform over
an alphabet of `values` letters, the position is uniform over 1..n: n log2(values) bits must cross from the sequence to
the question (theorem 4.6).  A model that can search needs none of them (theorem 5.2).  A search is a regular expression
that the model writes itself, piece by piece: skip as many words as the position says (`[BOS]` is the first), capture
the next.

Worked example, n = 4, position 3 of the sequence c a p a:

    direct  [BOS] c a p a [EOS] 3 p
    rag     [BOS] c a p a [EOS] 3 [STARTSEARCH] ^(?:\S+\s){ 3 }(\S+) [ENDSEARCH] p [EOS] p

With `--query first` the prompt is `[BOS] 3 c a p a [EOS]`, and the search skips one more word.

Axes: B samples, L positions, N tokens of the sequence.

    >>> from retrieval_gap.tasks.registry import shown
    >>> print(shown("index", n=4, mode="rag", options="values=4"))  # doctest: +NORMALIZE_WHITESPACE
    [BOS] b a d d [EOS] 3 [STARTSEARCH] ^(?:\S+\s){ 3 }(\S+) [ENDSEARCH] d [EOS] d
"""

import math
from dataclasses import dataclass
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
from .recall import Piece, QueryOptions, RecallTask, letters, write_traces

SKIP, CAPTURE = r"^(?:\S+\s){", r"}(\S+)"
SKIP_QUERY = r"^\S+\s(?:\S+\s){"
MOST_REPEATS = 1000  # of a group, in RE2 (kMaxRepeat in re2/parse.cc)

SKIP_TOKEN = len(CONTROL_TOKENS)
CAPTURE_TOKEN = SKIP_TOKEN + 1
VALUE_0 = CAPTURE_TOKEN + 1


@dataclass(frozen=True, kw_only=True)
class IndexOptions(QueryOptions):
    """values: number of letters in the alphabet."""

    values: int = 16


class Index(RecallTask):
    """The task.  Raises TaskError for a sequence longer than RE2 can skip."""

    name: ClassVar[str] = "index"
    n_range: ClassVar[tuple[int, int]] = (2, MOST_REPEATS)
    options_type: ClassVar[type[TaskOptions]] = IndexOptions
    options: IndexOptions

    def __init__(self, config: TaskConfig) -> None:
        if config.n > MOST_REPEATS:
            raise TaskError(
                f"{self.name}: n = {config.n} is outside 2..{MOST_REPEATS} ({self.size_flag}): RE2 repeats a group at"
                f" most {MOST_REPEATS} times, as the search {SKIP}{config.n}{CAPTURE} would (one repeated group behind"
                " another goes further: docs/constructions.md)"
            )
        super().__init__(config)

    def settle(self, options: IndexOptions, n: int) -> IndexOptions:
        check_option(self.name, "values", options.values, 2, 512)
        return options

    @cached_property
    def vocabulary(self) -> tuple[str, ...]:
        positions = (str(place) for place in range(1, self.config.n + 1))
        skip = SKIP_QUERY if self.asks_first else SKIP
        return (*CONTROL_TOKENS, skip, CAPTURE, *letters(self.options.values), *positions)

    @property
    def answers(self) -> tuple[int, ...]:
        return tuple(range(VALUE_0, VALUE_0 + self.options.values))

    @property
    def bits_to_cross(self) -> float:
        return self.config.n * math.log2(self.options.values)

    @property
    def max_length(self) -> int:
        """All traces have this length: n + 3 tokens of prompt, and 1 or 8 of target."""
        return self.config.n + (4 if self.config.mode == "direct" else 11)

    def sample(self, index_B: NDArray[np.int64]) -> Batch:
        value_BxN, _, place_B = self.draw(index_B, self.config.n, self.options.values)
        token_BxN = VALUE_0 + value_BxN
        answer_B = token_BxN[np.arange(len(token_BxN)), place_B]
        position_B = VALUE_0 + self.options.values + place_B
        prompt = self.prompt([token_BxN], position_B)
        if self.config.mode == "direct":
            return write_traces(prompt, [answer_B])
        search: list[Piece] = [STARTSEARCH, SKIP_TOKEN, position_B, CAPTURE_TOKEN, ENDSEARCH, answer_B]
        return write_traces(prompt, [*search, EOS, answer_B])


TASK = Index
