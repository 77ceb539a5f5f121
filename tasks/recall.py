"""What the recall tasks share: a sequence comes first, a question about it last.

Axes: B samples, L positions, M values that a sequence holds.

A one-way reader has to carry from the sequence to the question everything that any question may ask for: theorem 4.6 of
"RNNs are not Transformers (Yet)" (Wen, Dang, Lyu, ICLR 2025).  Each task computes this amount exactly
(`bits_to_cross`).  Splits are by what has to be carried, not by the question: no training sequence occurs in a test,
whatever the question, and within a split the question is independent of the sequence, as it is over all splits.
The paper gives these tasks no chain of thought, because none helps a state that is too small.

With the question first (`--query first`) the same problem is a different task: a reader that knows the question while
it reads carries only that, then the answer (docs/theory.md, section 5).  A model that fails there too has not learned.

Searches are regular expressions that the model writes piece by piece, valid for both Python's `re` and RE2.
"""

import abc
import itertools
import string
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from .api import (
    BOS,
    ENDSEARCH,
    EOS,
    LEFT_OUT_BY_DEFAULT,
    Batch,
    Mode,
    Task,
    TaskConfig,
    TaskError,
    TaskOptions,
    check_choice,
    written_options,
)
from .compiled import njit
from .randomness import SPLITS, Rng, below, hash_on, mix, split_of, start, stream_key

# With 64 sequences every split has some (the chance that a quarter of the hashes gets none is 10^-8).
FEWEST_BITS = 6
# A token of a sequence that is never asked for.
FILLER = "_"

Ints = NDArray[np.int32]
# A piece of a trace: one token for all samples, one for each (B), or several for each (BxM).
Piece = int | Ints

# Places of the query: after the sequence or before it.
LAST, FIRST = "last", "first"


@dataclass(frozen=True, kw_only=True)
class QueryOptions(TaskOptions):
    """query: `last`, after the sequence, or `first`, before it."""

    query: str = field(default=LAST, metadata=LEFT_OUT_BY_DEFAULT)


class RecallTask(Task):
    """Base of the recall tasks; `config.n` counts the tokens of the sequence.

    Raises TaskError if there are too few different sequences for three splits.
    """

    modes: ClassVar[tuple[Mode, ...]] = ("direct", "rag")
    size_flag: ClassVar[str] = "--length"

    def __init__(self, config: TaskConfig) -> None:
        super().__init__(config)
        if isinstance(self.options, QueryOptions):
            check_choice(self.name, "query", self.options.query, (LAST, FIRST))
        if self.bits_to_cross < FEWEST_BITS - 1e-9:
            raise TaskError(
                f"{self.name}: sequences hold {self.bits_to_cross:.3g} bits at {self.size_flag} {config.n}"
                f" ({self.config.options}); {FEWEST_BITS} or more are needed, so that every split has some: raise"
                f" {self.size_flag}"
            )

    @property
    @abc.abstractmethod
    def bits_to_cross(self) -> float:
        """Entropy, in bits, of the answers to all questions about a sequence, over the problems of all splits together.

        This many must cross from the sequence to the question for every answer to be right.  Within a split the
        sequences are uniform over the split's share: 1 bit less for training, 2 for validation and for test, up to
        chance in the hash.  With the query first it is still the entropy of the sequences, but far less has to be
        carried: `theory.bounds` has the amount.
        """

    @property
    def asks_first(self) -> bool:
        """Whether the query comes before the sequence."""
        return isinstance(self.options, QueryOptions) and self.options.query == FIRST

    @property
    def problem_key(self) -> np.uint64:
        """Key of the samples' random streams.  Like the mode, the query's place is left out: both places show the same
        problems."""
        options = replace(self.options, query=LAST) if isinstance(self.options, QueryOptions) else self.options
        return stream_key(self.name, self.family, replace(self.config, options=written_options(options)))

    def prompt(self, sequence: Sequence[Piece], query: Piece) -> list[Piece]:
        """`[BOS]`, the sequence, `[EOS]`, the query; query first: `[BOS]`, the query, the sequence, `[EOS]`."""
        return [BOS, query, *sequence, EOS] if self.asks_first else [BOS, *sequence, EOS, query]

    @property
    def context_len(self) -> int | None:
        """Tokens of the prompt up to the end of the sequence (`[BOS]` ... `[EOS]`); the question follows.  None if the
        question comes first."""
        return None if self.asks_first else self.config.n + 2

    def draw(
        self, index_B: NDArray[np.int64], held: int, values: int, shuffled: bool = False
    ) -> tuple[Ints, Ints, Ints]:
        """Draw for each sample `held` values below `values`, their order (empty unless `shuffled`), the one asked for.

        Returns value_BxM, order_BxM, asked_B.
        """
        batch = len(index_B)
        value_BxM, asked_B = np.empty((batch, held), np.int32), np.empty(batch, np.int32)
        order_BxM = np.empty((batch, held if shuffled else 0), np.int32)
        key, split = self.problem_key, SPLITS.index(self.config.split)
        _draw_values(key, np.asarray(index_B, np.int64), split, values, value_BxM, order_BxM, asked_B)
        return value_BxM, order_BxM, asked_B


def letters(count: int) -> tuple[str, ...]:
    """a, b, ..., z, aa, ab, ...: the first `count` of them."""
    sizes = itertools.count(1)
    words = ("".join(word) for size in sizes for word in itertools.product(string.ascii_lowercase, repeat=size))
    return tuple(itertools.islice(words, count))


def write_traces(prompt: Sequence[Piece], target: Sequence[Piece]) -> Batch:
    """Join pieces into traces of one length.

    The target is graded, except the tokens after `[ENDSEARCH]`, which are search results.
    """
    pieces = [*prompt, *target]
    prompt_len = sum(map(_width, prompt))
    batch = next(len(piece) for piece in pieces if isinstance(piece, np.ndarray))
    tokens_BxL = np.empty((batch, sum(map(_width, pieces))), np.int32)
    at = 0
    for piece in pieces:
        width = _width(piece)
        tokens_BxL[:, at : at + width] = piece if isinstance(piece, int) else piece.reshape(batch, width)
        at += width
    loss_mask_BxL = np.zeros(tokens_BxL.shape, np.bool_)
    np.not_equal(tokens_BxL[:, prompt_len - 1 : -1], ENDSEARCH, out=loss_mask_BxL[:, prompt_len:])
    return Batch(
        tokens_BxL=tokens_BxL,
        loss_mask_BxL=loss_mask_BxL,
        prompt_len_B=np.full(batch, prompt_len, np.int32),
        length_B=np.full(batch, at, np.int32),
        answer_B=tokens_BxL[:, -1].copy(),
    )


def _width(piece: Piece) -> int:
    return piece.shape[1] if isinstance(piece, np.ndarray) and piece.ndim == 2 else 1


@njit(cache=True, nogil=True)
def grams(key_MxC: Ints, value_BxM: Ints, order_BxM: Ints) -> Ints:
    """The sequences of grams (BxN), each a key's tokens and its value; an empty order means that of the keys."""
    batch, held = value_BxM.shape
    places = key_MxC.shape[1]
    sequence_BxN = np.empty((batch, held * (places + 1)), np.int32)
    for b in range(batch):
        at = 0
        for m in range(held):
            chosen = order_BxM[b, m] if order_BxM.shape[1] else m
            for c in range(places):
                sequence_BxN[b, at + c] = key_MxC[chosen, c]
            sequence_BxN[b, at + places] = value_BxM[b, chosen]
            at += places + 1
    return sequence_BxN


@njit(cache=True, nogil=True)
def shuffle(rng: Rng, items_N: Ints) -> None:
    """Put the items in a uniform order (Fisher-Yates)."""
    for k in range(len(items_N) - 1, 0, -1):
        other = below(rng, k + 1)
        items_N[k], items_N[other] = items_N[other], items_N[k]


@njit(cache=True, nogil=True)
def _draw_values(
    key: np.uint64, index_B: NDArray[np.int64], split: int, values: int, value_BxM: Ints, order_BxM: Ints, asked_B: Ints
) -> None:
    """Draw values below `values` until the split owns them, then which of the M is asked for, then, unless `order_BxM`
    is empty, an order of them.  All are uniform and independent of each other."""
    rng = np.empty(1, np.uint64)
    held = value_BxM.shape[1]
    for b in range(len(index_B)):
        attempt, owner = 0, -1
        while owner != split:
            start(rng, key, index_B[b], attempt)
            attempt += 1
            sequence_hash = np.uint64(held)
            for m in range(held):
                value = below(rng, values)
                value_BxM[b, m] = value
                sequence_hash = hash_on(sequence_hash, value)
            owner = split_of(mix(sequence_hash))
        asked_B[b] = below(rng, held)
        for m in range(order_BxM.shape[1]):
            order_BxM[b, m] = m
        shuffle(rng, order_BxM[b])
