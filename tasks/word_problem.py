"""Word problem: read n elements of a finite group; name their product.  State tracking.

As in "The Illusion of State in State-Space Models" (Merrill, Petty, Sabharwal 2024, arXiv 2404.08819) and
in DeltaProduct (Siems et al. 2025, arXiv 2502.10297).  Elements are independent and uniform, over the whole
group or over its generators.  A reader has to carry one product, at most 6.9 bits, so a bound on bits says nothing
here: what matters is what one step, or a number of layers, can compute.

Groups are Z2, Z3, ... (numbers, added modulo m), S3, S4, S5 and A3, A4, A5: permutations in one-line notation,
multiplied from left to right (the first is applied first).  Generators (`--elements generators`) are 1 for Zm, swaps
of neighbours for Sm and the cycles (1 2 k) for Am; always with the neutral element, so that the length of a word says
nothing about its product.

`--ask end` asks for the product of all elements, `--ask each` for the product so far after every element.  In `direct`
the model does not read its answers (`unread`), so that its state has to carry every product.  In `cot` it reads them,
so each is a single step from the last; with `--ask end` the trace first writes all products after the sequence.

Worked example, S3, n = 3:

    direct, ask end   [BOS] 213 132 132 [EOS] =213
    cot, ask end      [BOS] 213 132 132 [EOS] 213 312 213 [EOS] =213
    ask each          [BOS] 213 =213 132 =312 132 =213

Axes: B samples, L positions, N elements of a word, G elements of the group, A those that words are made of.

    >>> from retrieval_gap.tasks.registry import shown
    >>> print(shown("word_problem", n=4, mode="direct"))  # doctest: +NORMALIZE_WHITESPACE
    [BOS] 213 231 213 321 [EOS] =132
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import permutations
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from .api import (
    BOS,
    CONTROL_TOKENS,
    EOS,
    Batch,
    Mode,
    Task,
    TaskConfig,
    TaskError,
    TaskOptions,
    check_choice,
)
from .compiled import njit
from .randomness import SPLITS, below, hash_on, mix, split_of, start, stream_key
from .recall import FEWEST_BITS, Ints, Piece, write_traces

LARGEST_TABLE = 120  # elements of a group
GROUPS = "Z2 to Z120, S3 to S5, A3 to A5"
ALL, GENERATORS = "all", "generators"
END, EACH = "end", "each"

_ELEMENT_0 = len(CONTROL_TOKENS)


@dataclass(frozen=True)
class Group:
    """names: spelling of each element, the neutral one first.  product_GxG: number of the product of each pair.
    generators: their numbers, with that of the neutral element."""

    names: tuple[str, ...]
    product_GxG: NDArray[np.int32]
    generators: tuple[int, ...]


@cache
def group(name: str) -> Group:
    """The group of that name.  Raises TaskError if there is none, or it has more than LARGEST_TABLE elements."""
    known = re.fullmatch(r"([ZSA])(\d{1,9})", name)
    kind, degree = (known[1], int(known[2])) if known else ("", 0)
    if degree < (2 if kind == "Z" else 3) or name != f"{kind}{degree}":
        raise TaskError(f"word_problem: unknown group {name!r} (choose from {GROUPS})")
    order = degree if kind == "Z" else math.factorial(min(degree, 12)) // (2 if kind == "A" else 1)
    if order > LARGEST_TABLE:
        told = f"{order}" if kind == "Z" or degree <= 12 else f"more than {order}"
        raise TaskError(
            f"word_problem: --group {name} has {told} elements, and tables go up to {LARGEST_TABLE}: {GROUPS}"
        )
    if kind == "Z":
        sums_GxG = np.add.outer(np.arange(degree), np.arange(degree)) % degree
        return Group(tuple(map(str, range(degree))), sums_GxG.astype(np.int32), (0, 1))
    return _permutations(degree, even=kind == "A")


def _permutations(degree: int, even: bool) -> Group:
    points = range(degree)
    every = permutations(points)
    elements = [p for p in every if not even or sum(p[i] > p[j] for j in points for i in range(j)) % 2 == 0]
    number = {element: k for k, element in enumerate(elements)}
    product_GxG = np.array([[number[tuple(b[i] for i in a)] for b in elements] for a in elements], np.int32)
    steps = [(0, 1, k) for k in range(2, degree)] if even else [(k, k + 1) for k in range(degree - 1)]
    cycles = [tuple(step[(step.index(i) + 1) % len(step)] if i in step else i for i in points) for step in steps]
    names = tuple("".join(str(i + 1) for i in element) for element in elements)
    return Group(names, product_GxG, (0, *(number[cycle] for cycle in cycles)))


@dataclass(frozen=True, kw_only=True)
class WordOptions(TaskOptions):
    """group: its name.  elements: `all` of the group or its `generators`.  ask: at the `end` or at `each` element."""

    group: str = "S3"
    elements: str = ALL
    ask: str = END


class WordProblem(Task):
    """The task.  Raises TaskError if there are too few different words for three splits."""

    name: ClassVar[str] = "word_problem"
    modes: ClassVar[tuple[Mode, ...]] = ("direct", "cot")
    n_range: ClassVar[tuple[int, int]] = (1, 4096)
    size_flag: ClassVar[str] = "--length"
    options_type: ClassVar[type[TaskOptions]] = WordOptions
    options: WordOptions

    def __init__(self, config: TaskConfig) -> None:
        super().__init__(config)
        if len(self.alphabet) ** config.n < 2**FEWEST_BITS:
            raise TaskError(f"{self.name}: too few words of --length {config.n} for three splits; raise --length")

    def settle(self, options: WordOptions, n: int) -> WordOptions:
        group(options.group)
        check_choice(self.name, "elements", options.elements, (ALL, GENERATORS))
        check_choice(self.name, "ask", options.ask, (END, EACH))
        return options

    @property
    def group(self) -> Group:
        return group(self.options.group)

    @property
    def alphabet(self) -> tuple[int, ...]:
        """The elements that words are made of."""
        return tuple(range(len(self.group.names))) if self.options.elements == ALL else self.group.generators

    @cached_property
    def vocabulary(self) -> tuple[str, ...]:
        return (*CONTROL_TOKENS, *self.group.names, *("=" + name for name in self.group.names))

    @property
    def answers(self) -> tuple[int, ...]:
        order = len(self.group.names)
        return tuple(range(_ELEMENT_0 + order, _ELEMENT_0 + 2 * order))

    @property
    def unread(self) -> tuple[int, ...]:
        return self.answers if self.config.mode == "direct" and self.options.ask == EACH else ()

    @property
    def questions(self) -> int:
        return self.config.n if self.options.ask == EACH else 1

    @property
    def max_length(self) -> int:
        """All traces have this length: n elements, n answers or one, and n products first in `cot` with `--ask end`."""
        n = self.config.n
        if self.options.ask == EACH:
            return 1 + 2 * n
        return n + 3 if self.config.mode == "direct" else 2 * n + 4

    def words_by_product(self) -> Iterator[list[int]]:
        """For words of 1, 2, ..., n elements: the exact number of words with each product."""
        product_GxG, order = self.group.product_GxG, len(self.group.names)
        counts_G = np.array([1] + [0] * (order - 1), object)  # integers of any size
        for length in range(1, self.config.n + 1):
            if len(self.alphabet) == order:
                counts_G = np.full(order, order ** (length - 1), object)
            else:
                next_G = np.zeros(order, object)
                for factor in self.alphabet:
                    next_G[product_GxG[:, factor]] += counts_G
                counts_G = next_G
            yield counts_G.tolist()

    def sample(self, index_B: NDArray[np.int64]) -> Batch:
        index_B = np.asarray(index_B, np.int64)
        word_BxN, prefix_BxN = (np.empty((len(index_B), self.config.n), np.int32) for _ in range(2))
        key, split = stream_key(self.name, self.family, self.config), SPLITS.index(self.config.split)
        alphabet_A = np.array(self.alphabet, np.int32)
        _sample_words(key, index_B, split, alphabet_A, self.group.product_GxG, word_BxN, prefix_BxN)
        token_BxN, product_BxN = _ELEMENT_0 + word_BxN, _ELEMENT_0 + prefix_BxN
        answer_BxN = product_BxN + len(self.group.names)
        if self.options.ask == EACH:
            return _interleaved(token_BxN, answer_BxN)
        prompt: list[Piece] = [BOS, token_BxN, EOS]
        thought: list[Piece] = [] if self.config.mode == "direct" else [product_BxN, EOS]
        return write_traces(prompt, [*thought, answer_BxN[:, -1]])


TASK = WordProblem


def _interleaved(token_BxN: Ints, answer_BxN: Ints) -> Batch:
    """`[BOS]`, then each element with the product up to it, which is graded."""
    batch, n = token_BxN.shape
    tokens_BxL = np.empty((batch, 1 + 2 * n), np.int32)
    tokens_BxL[:, 0], tokens_BxL[:, 1::2], tokens_BxL[:, 2::2] = BOS, token_BxN, answer_BxN
    loss_mask_BxL = np.zeros(tokens_BxL.shape, np.bool_)
    loss_mask_BxL[:, 2::2] = True
    return Batch(
        tokens_BxL=tokens_BxL,
        loss_mask_BxL=loss_mask_BxL,
        prompt_len_B=np.full(batch, 2, np.int32),
        length_B=np.full(batch, 1 + 2 * n, np.int32),
        answer_B=tokens_BxL[:, -1].copy(),
    )


@njit(cache=True, nogil=True)
def _sample_words(
    key: np.uint64,
    index_B: NDArray[np.int64],
    split: int,
    alphabet_A: Ints,
    product_GxG: Ints,
    word_BxN: Ints,
    prefix_BxN: Ints,
) -> None:
    """Draw uniform words over the alphabet until the split owns them; compute the products of all their prefixes."""
    rng = np.empty(1, np.uint64)
    n = word_BxN.shape[1]
    for b in range(len(index_B)):
        attempt, owner = 0, -1
        while owner != split:
            start(rng, key, index_B[b], attempt)
            attempt += 1
            word_hash = np.uint64(n)
            for t in range(n):
                word_BxN[b, t] = alphabet_A[below(rng, len(alphabet_A))]
                word_hash = hash_on(word_hash, word_BxN[b, t])
            owner = split_of(mix(word_hash))
        product = 0
        for t in range(n):
            product = product_GxG[product, word_BxN[b, t]]
            prefix_BxN[b, t] = product
