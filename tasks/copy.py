r"""Copy: read n tokens, then write them all again.

The uniform copy of "Repeat After Me", Jelassi, Brandfonbrener, Kakade, Malach (2024, arXiv 2402.01032), section 2: the
tokens are independent and uniform over an alphabet of `values` letters.  n log2(values) bits must cross from the
sequence to its copy, and with b bits of state no more than a share 2^(b - n log2(values)) of the sequences is copied
whole (their theorem 2.7).  A trace has n answers, graded one by one: `accuracy` is the share of right tokens,
`exact_trace` of right copies. With a search for every place (see index.py) only the place has to be remembered.

Worked example, n = 4:

    direct  [BOS] c a p a [EOS] c a p a
    rag     [BOS] c a p a [EOS] [STARTSEARCH] ^(?:\S+\s){ 1 }(\S+) [ENDSEARCH] c c [STARTSEARCH] ... a a

Axes: B samples, L positions, N tokens of the sequence, W tokens written for each.

    >>> from retrieval_gap.tasks.registry import shown
    >>> print(shown("copy", n=4, mode="rag", options="values=4"))  # doctest: +NORMALIZE_WHITESPACE
    [BOS] a a b c [EOS] [STARTSEARCH] ^(?:\S+\s){ 1 }(\S+) [ENDSEARCH] a a [STARTSEARCH] ^(?:\S+\s){ 2 }(\S+)
    [ENDSEARCH] a a [STARTSEARCH] ^(?:\S+\s){ 3 }(\S+) [ENDSEARCH] b b [STARTSEARCH] ^(?:\S+\s){ 4 }(\S+)
    [ENDSEARCH] c c
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from .api import BOS, ENDSEARCH, EOS, PAD, STARTSEARCH, Batch, TaskOptions
from .index import CAPTURE_TOKEN, SKIP_TOKEN, VALUE_0, Index
from .recall import Piece, write_traces


@dataclass(frozen=True, kw_only=True)
class CopyOptions(TaskOptions):
    """values: number of letters in the alphabet."""

    values: int = 16


class Copy(Index):
    """The task, with the alphabet and the vocabulary of Index.  It asks for everything, so it has no query."""

    name: ClassVar[str] = "copy"
    options_type: ClassVar[type[TaskOptions]] = CopyOptions

    @property
    def questions(self) -> int:
        return self.config.n

    @property
    def max_length(self) -> int:
        """All traces have this length: n + 2 tokens of prompt, and 1 or 7 for each token of the copy."""
        return self.config.n * (2 if self.config.mode == "direct" else 8) + 2

    def sample(self, index_B: NDArray[np.int64]) -> Batch:
        n = self.config.n
        value_BxN, _, _ = self.draw(index_B, n, self.options.values)
        token_BxN = VALUE_0 + value_BxN
        prompt: list[Piece] = [BOS, token_BxN, EOS]
        if self.config.mode == "direct":
            return write_traces(prompt, [token_BxN])
        position_N = VALUE_0 + self.options.values + np.arange(n)
        written_BxNxW = np.empty((len(token_BxN), n, 7), np.int32)
        written_BxNxW[:, :, :5] = [STARTSEARCH, SKIP_TOKEN, PAD, CAPTURE_TOKEN, ENDSEARCH]
        written_BxNxW[:, :, 2] = position_N
        written_BxNxW[:, :, 5:] = token_BxN[:, :, None]
        return write_traces(prompt, [written_BxNxW.reshape(len(token_BxN), 7 * n)])


TASK = Copy
