"""Index: read n tokens, then a position; name the token there.  Also the example of a task in one file.

"RNNs are not Transformers (Yet)", Wen, Dang, Lyu (ICLR 2025), section 4.2.  The state of a model that reads
once has to hold all 4n bits of the sequence (theorem 4.6); a model that can search needs none of them
(theorem 5.2).  Positions count from 1.  A search is a regular expression that the model writes itself, piece
by piece: skip as many words as the position says (`[BOS]` is the first), capture the next one.

Worked example, n = 4, position 3 of the sequence c a p a:

    direct  [BOS] c a p a [EOS] 3 p
    rag     [BOS] c a p a [EOS] 3 [STARTSEARCH] ^(?:\\S+\\s){ 3 }(\\S+) [ENDSEARCH] p [EOS] p

Axes: B samples, L positions, N tokens of the sequence.
"""

from functools import cached_property
from typing import ClassVar

import numpy as np
from numba import njit
from numpy.typing import NDArray

from tasks.api import BOS, CONTROL_TOKENS, ENDSEARCH, EOS, STARTSEARCH, Batch, Mode, Task
from tasks.randomness import SPLITS, below, draw, mix, split_of, start, stream_key

VALUES = tuple("abcdefghijklmnop")
SKIP, CAPTURE = r"^(?:\S+\s){", r"}(\S+)"

_VALUE_0 = len(CONTROL_TOKENS)
_SKIP = _VALUE_0 + len(VALUES)
_CAPTURE = _SKIP + 1
_POSITION_0 = _CAPTURE  # position 1 is the token after the pieces of the query


class Index(Task):
    """The task; `config.n` counts the tokens of the sequence.  RE2 repeats a group at most 1000 times."""

    name: ClassVar[str] = "index"
    modes: ClassVar[tuple[Mode, ...]] = ("direct", "rag")
    n_range: ClassVar[tuple[int, int]] = (2, 1000)

    @cached_property
    def vocabulary(self) -> tuple[str, ...]:
        positions = (str(place) for place in range(1, self.config.n + 1))
        return (*CONTROL_TOKENS, *VALUES, SKIP, CAPTURE, *positions)

    @property
    def answers(self) -> tuple[int, ...]:
        return tuple(range(_VALUE_0, _SKIP))

    @property
    def max_length(self) -> int:
        """Every trace is as long: n + 3 tokens of prompt, and 1 or 8 of target."""
        return self.config.n + (4 if self.config.mode == "direct" else 11)

    def sample(self, index_B: NDArray[np.int64]) -> Batch:
        index_B = np.asarray(index_B, np.int64)
        batch, n = len(index_B), self.config.n
        value_BxN = np.empty((batch, n), np.int32)
        place_B = np.empty(batch, np.int32)
        key = stream_key(self.name, self.family, self.config)
        _sample_problems(key, index_B, SPLITS.index(self.config.split), value_BxN, place_B)

        position_B = _POSITION_0 + place_B
        answer_B = _VALUE_0 + value_BxN[np.arange(batch), place_B - 1]
        target: list[int | NDArray[np.int32]] = [answer_B]
        if self.config.mode == "rag":
            target = [STARTSEARCH, _SKIP, position_B, _CAPTURE, ENDSEARCH, answer_B, EOS, answer_B]
        tokens_BxL = np.empty((batch, self.max_length), np.int32)
        tokens_BxL[:, 0] = BOS
        tokens_BxL[:, 1 : n + 1] = _VALUE_0 + value_BxN
        tokens_BxL[:, n + 1] = EOS
        tokens_BxL[:, n + 2] = position_B
        for t, token in enumerate(target, start=n + 3):
            tokens_BxL[:, t] = token

        loss_mask_BxL = np.zeros(tokens_BxL.shape, np.bool_)
        loss_mask_BxL[:, n + 3 :] = tokens_BxL[:, n + 2 : -1] != ENDSEARCH
        return Batch(
            tokens_BxL=tokens_BxL,
            loss_mask_BxL=loss_mask_BxL,
            prompt_len_B=np.full(batch, n + 3, np.int32),
            length_B=np.full(batch, self.max_length, np.int32),
            answer_B=answer_B.astype(np.int32),
        )


TASK = Index


@njit(cache=True, nogil=True)
def _sample_problems(
    key: np.uint64,
    index_B: NDArray[np.int64],
    split: int,
    value_BxN: NDArray[np.int32],
    place_B: NDArray[np.int32],
) -> None:
    """Values in 0..15 and a place in 1..n, drawn until the problem belongs to the split."""
    n = value_BxN.shape[1]
    rng = np.empty(1, np.uint64)
    for b in range(len(index_B)):
        attempt, owner = 0, -1
        while owner != split:
            start(rng, key, index_B[b], attempt)
            attempt += 1
            place_B[b] = 1 + below(rng, n)
            problem_hash = mix(np.uint64(place_B[b]))
            bits = np.uint64(0)
            for t in range(n):
                if t % 16 == 0:
                    bits = draw(rng)
                value = np.int64(bits & np.uint64(15))
                bits >>= np.uint64(4)
                value_BxN[b, t] = value
                problem_hash += mix(np.uint64(16 * t + value) << np.uint64(20))
            owner = split_of(mix(problem_hash))
