"""Find a path: read a directed graph as facts `a > b` in any order, then two nodes; does the first lead to the second?

After the logical graphs of Malach et al. (2025, arXiv 2510.14826), whose models search by `find(a)`.  The graph is two
disjoint chains of n/2 nodes each, with uniform names, so that every node but two leads to exactly one other.  The start
and the target are on two different levels (a uniform pair of them, the start on the lower one), each on either chain:
the answer is a fair coin.  Whoever knows all names and levels beforehand still needs n/2 - 1 bits of the graph to be
always right (docs/theory.md, section 5); whoever searches needs the names of two nodes.

Four ways to answer: `direct`; `cot`, which writes the path, without a search; `rag`, where each node of the path is
found by a search (`--calls many`); and `rag` with `--calls one`, where a search finds the first of them alone.  With
`--ask path` the start is the first node of a chain and the answer is all nodes behind it, spelled `=7`, each graded:
`direct` writes them, and there is no `cot`.  With `--names 1000` the nodes of smaller graphs have names below 1,000: a
model trained so can be tested on graphs of up to 1,000 nodes.

Worked example, n = 6, chains 4 > 0 > 3 and 5 > 1 > 2:

    direct           [BOS] 0 > 3 5 > 1 4 > 0 1 > 2 [EOS] 4 3 [TRUE]
    cot              ... [EOS] 4 3 0 3 [EOS] [TRUE]
    rag              ... [EOS] 4 3 S W 4 F E 0 S W 0 F E 3 [EOS] [TRUE]       (W, F: (?:^|\\s) and \\s>\\s(\\d+))
    rag, no path     ... [EOS] 4 2 S W 4 F E 0 S W 0 F E 3 S W 3 F E [FAILED] [EOS] [FALSE]
    rag, one call    ... [EOS] 4 3 S W 4 F E 0 3 [EOS] [TRUE]                 (S, E: [STARTSEARCH], [ENDSEARCH])
    direct, a path   ... [EOS] 4 =0 =3
    rag, a path      ... [EOS] 4 S W 4 F E 0 =0 S W 0 F E 3 =3

Axes: B samples, L positions, N nodes (a chain, then the other), F facts.

    >>> from retrieval_gap.tasks.registry import shown
    >>> print(shown("find_path", n=4, mode="cot"))  # doctest: +NORMALIZE_WHITESPACE
    [BOS] 1 > 2 3 > 0 [EOS] 3 0 0 [EOS] [TRUE]
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar

import numpy as np
from numba import njit
from numpy.typing import NDArray

from .api import (
    BOS,
    CONTROL_TOKENS,
    ENDSEARCH,
    EOS,
    FAILED,
    FALSE,
    PAD,
    STARTSEARCH,
    TRUE,
    Batch,
    Mode,
    Task,
    TaskConfig,
    TaskError,
    TaskOptions,
    check_choice,
    check_option,
    written_options,
)
from .randomness import SPLITS, Rng, below, hash_on, mix, split_of, start, stream_key
from .recall import Ints, shuffle

WORD, FOLLOWS, ARROW = r"(?:^|\s)", r"\s>\s(\d+)", ">"
REACH, PATH = "reach", "path"
MANY, ONE = "many", "one"
LARGEST = 4096

_WORD = len(CONTROL_TOKENS)
_FOLLOWS, _ARROW, _NODE_0 = (_WORD + k for k in range(1, 4))
_SEARCH = 6  # tokens of a search and its result


@dataclass(frozen=True, kw_only=True)
class PathOptions(TaskOptions):
    """names: how many there are for nodes, n or more; 0 means n.  ask: whether the target is reached (`reach`), or for
    the nodes of the `path`.  calls: searches of a trace, `many` or `one`."""

    names: int = 0
    ask: str = REACH
    calls: str = MANY


class FindPath(Task):
    """The task; n is even.  Raises TaskError where it is not, and for a path as a chain of thought."""

    name: ClassVar[str] = "find_path"
    modes: ClassVar[tuple[Mode, ...]] = ("direct", "cot", "rag")
    n_range: ClassVar[tuple[int, int]] = (4, LARGEST)
    size_flag: ClassVar[str] = "--n-nodes"
    options_type: ClassVar[type[TaskOptions]] = PathOptions
    options: PathOptions

    def __init__(self, config: TaskConfig) -> None:
        super().__init__(config)
        if config.n % 2:
            raise TaskError(f"{self.name}: {self.size_flag} {config.n} is odd, and the nodes are two chains of as many")
        if config.mode == "cot" and self.asks_path:
            raise TaskError(f"{self.name}: --ask path writes the path as its answer; choose mode direct or rag")

    def settle(self, options: PathOptions, n: int) -> PathOptions:
        check_choice(self.name, "ask", options.ask, (REACH, PATH))
        check_choice(self.name, "calls", options.calls, (MANY, ONE))
        names = options.names or n
        check_option(self.name, "names", names, n, LARGEST)
        return replace(options, names=names)

    @property
    def asks_path(self) -> bool:
        """Whether the answer is the nodes of the path."""
        return self.options.ask == PATH

    @property
    def levels(self) -> int:
        """Nodes of a chain."""
        return self.config.n // 2

    @cached_property
    def vocabulary(self) -> tuple[str, ...]:
        names = [str(name) for name in range(self.options.names)]
        written = ["=" + name for name in names] if self.asks_path else []
        return (*CONTROL_TOKENS, WORD, FOLLOWS, ARROW, *names, *written)

    @property
    def answers(self) -> tuple[int, ...]:
        first = _NODE_0 + self.options.names
        return tuple(range(first, first + self.options.names)) if self.asks_path else (TRUE, FALSE)

    @property
    def questions(self) -> int:
        return self.levels - 1 if self.asks_path else 1

    @property
    def bits_to_cross(self) -> float:
        """Bits of a graph that decide all answers, where names and levels are known."""
        return float(self.levels - 1)

    @property
    def context_len(self) -> int:
        """Tokens of every prompt up to the end of the facts."""
        return 6 * (self.levels - 1) + 2

    @property
    def max_length(self) -> int:
        """The longest trace walks down a whole chain; searching all the way, it is told that it ends there."""
        hops, many = self.levels - 1, self.options.calls == MANY
        searched = (_SEARCH * hops if many else _SEARCH) if self.config.mode == "rag" else 0
        if self.asks_path:
            return self.context_len + 1 + hops + searched
        walked = {"direct": 0, "cot": hops, "rag": searched + (_SEARCH if many else hops - 1)}[self.config.mode]
        return self.context_len + 2 + walked + (1 if self.config.mode == "direct" else 2)

    @property
    def problem_key(self) -> np.uint64:
        """Of the samples' streams: one call and many show the same problems."""
        options = written_options(replace(self.options, calls=MANY))
        return stream_key(self.name, self.family, replace(self.config, options=options))

    def sample(self, index_B: NDArray[np.int64]) -> Batch:
        index_B = np.asarray(index_B, np.int64)
        node_BxN = np.empty((len(index_B), self.config.n), np.int32)
        order_BxF = np.empty((len(index_B), 2 * (self.levels - 1)), np.int32)
        asked_Bx4 = np.empty((len(index_B), 4), np.int32)
        split = SPLITS.index(self.config.split)
        _sample_problems(self.problem_key, index_B, split, self.options.names, node_BxN, order_BxF, asked_Bx4)
        searches = {"direct": 0, "cot": 0, "rag": 1 if self.options.calls == ONE else self.config.n}[self.config.mode]
        tokens_BxL = np.full((len(index_B), self.max_length), PAD, np.int32)
        loss_mask_BxL = np.zeros(tokens_BxL.shape, np.bool_)
        length_B = np.empty(len(index_B), np.int32)
        if self.asks_path:
            asked_Bx4[:, 0], asked_Bx4[:, 2] = 0, self.levels - 1
            _write_paths(node_BxN, order_BxF, asked_Bx4, searches, self.options.names, tokens_BxL, length_B)
        else:
            thinks = self.config.mode != "direct"
            _write_walks(node_BxN, order_BxF, asked_Bx4, searches, thinks, tokens_BxL, length_B)
        prompt = self.context_len + (1 if self.asks_path else 2)
        place_L = np.arange(tokens_BxL.shape[1])
        loss_mask_BxL[:] = (place_L >= prompt) & (place_L < length_B[:, None])
        loss_mask_BxL[:, 1:] &= tokens_BxL[:, :-1] != ENDSEARCH
        longest = int(length_B.max(initial=prompt))
        return Batch(
            tokens_BxL=np.ascontiguousarray(tokens_BxL[:, :longest]),
            loss_mask_BxL=np.ascontiguousarray(loss_mask_BxL[:, :longest]),
            prompt_len_B=np.full(len(index_B), prompt, np.int32),
            length_B=length_B,
            answer_B=tokens_BxL[np.arange(len(index_B)), length_B - 1].copy(),
        )

    def search_pattern(self, query: Sequence[str]) -> str | None:
        formed = len(query) == 3 and query[0] == WORD and query[1].isdecimal() and query[2] == FOLLOWS
        return "".join(query) if formed else None

    def fast_search(self, tokens_BxL: NDArray[np.int32], length_B: NDArray[np.int32]) -> NDArray[np.int32]:
        result_B = np.empty(len(tokens_BxL), np.int32)
        _search_rows(tokens_BxL, length_B, self.options.names, result_B)
        return result_B


TASK = FindPath


@njit(cache=True, nogil=True)
def _draw_nodes(rng: Rng, name_N: Ints, node_N: Ints) -> None:
    """The first nodes of a uniform order of all names, which stay in the order that they are left in."""
    for k in range(len(node_N)):
        other = k + below(rng, len(name_N) - k)
        name_N[k], name_N[other] = name_N[other], name_N[k]
        node_N[k] = name_N[k]


@njit(cache=True, nogil=True)
def _hash_of_graph(node_N: Ints) -> np.uint64:
    """The same whichever of the two chains comes first."""
    levels = len(node_N) // 2
    first, second = np.uint64(levels), np.uint64(levels)
    for j in range(levels):
        first, second = hash_on(first, node_N[j]), hash_on(second, node_N[levels + j])
    return mix(mix(first) + mix(second))


@njit(cache=True, nogil=True)
def _sample_problems(
    key: np.uint64,
    index_B: NDArray[np.int64],
    split: int,
    names: int,
    node_BxN: Ints,
    order_BxF: Ints,
    asked_Bx4: Ints,
) -> None:
    """Two chains, uniform, drawn again until the split owns them; the order of the facts; the question: level and chain
    of the start, level and chain of the target.

    Fact f is that of node f % (levels - 1) of chain f // (levels - 1).
    """
    rng = np.empty(1, np.uint64)
    name_N = np.empty(names, np.int32)
    levels = node_BxN.shape[1] // 2
    for b in range(len(index_B)):
        attempt, owner = 0, -1
        while owner != split:
            start(rng, key, index_B[b], attempt)
            attempt += 1
            for k in range(names):
                name_N[k] = k
            _draw_nodes(rng, name_N, node_BxN[b])
            owner = split_of(_hash_of_graph(node_BxN[b]))
        for f in range(order_BxF.shape[1]):
            order_BxF[b, f] = f
        shuffle(rng, order_BxF[b])
        one, other = below(rng, levels), below(rng, levels - 1)
        other += 1 if other >= one else 0
        asked_Bx4[b, 0], asked_Bx4[b, 2] = min(one, other), max(one, other)
        asked_Bx4[b, 1], asked_Bx4[b, 3] = below(rng, 2), below(rng, 2)


@njit(cache=True, nogil=True)
def _write_facts(node_N: Ints, order_F: Ints, tokens_L: Ints) -> int:
    """`[BOS]`, the facts, `[EOS]`; where that ends."""
    hops = len(order_F) // 2
    tokens_L[0] = BOS
    at = 1
    for fact in order_F:
        place = fact + fact // hops
        tokens_L[at], tokens_L[at + 1], tokens_L[at + 2] = (
            _NODE_0 + node_N[place],
            _ARROW,
            _NODE_0 + node_N[place + 1],
        )
        at += 3
    tokens_L[at] = EOS
    return at + 1


@njit(cache=True, nogil=True)
def _write_search(tokens_L: Ints, at: int, node: int, result: int) -> int:
    """A search for what follows a node, and its result; where that ends."""
    tokens_L[at], tokens_L[at + 1], tokens_L[at + 2] = STARTSEARCH, _WORD, node
    tokens_L[at + 3], tokens_L[at + 4], tokens_L[at + 5] = _FOLLOWS, ENDSEARCH, result
    return at + _SEARCH


@njit(cache=True, nogil=True)
def _write_walks(
    node_BxN: Ints, order_BxF: Ints, asked_Bx4: Ints, searches: int, thinks: bool, tokens_BxL: Ints, length_B: Ints
) -> None:
    """Whole traces of `--ask reach`: the walk from the start to the target, or to the end of its chain."""
    levels = node_BxN.shape[1] // 2
    for b in range(len(node_BxN)):
        tokens_L = tokens_BxL[b]
        at = _write_facts(node_BxN[b], order_BxF[b], tokens_L)
        level, chain, target, its_chain = asked_Bx4[b]
        tokens_L[at] = _NODE_0 + node_BxN[b, chain * levels + level]
        tokens_L[at + 1] = _NODE_0 + node_BxN[b, its_chain * levels + target]
        reached = chain == its_chain
        at += 2
        if thinks:
            last = target if reached else levels - 1
            for j in range(level, last):
                node = _NODE_0 + node_BxN[b, chain * levels + j]
                following = _NODE_0 + node_BxN[b, chain * levels + j + 1]
                if j - level < searches:
                    at = _write_search(tokens_L, at, node, following)
                else:
                    tokens_L[at] = following
                    at += 1
            if not reached and last - level < searches:
                at = _write_search(tokens_L, at, _NODE_0 + node_BxN[b, chain * levels + last], FAILED)
            tokens_L[at] = EOS
            at += 1
        tokens_L[at] = TRUE if reached else FALSE
        length_B[b] = at + 1


@njit(cache=True, nogil=True)
def _write_paths(
    node_BxN: Ints, order_BxF: Ints, asked_Bx4: Ints, searches: int, names: int, tokens_BxL: Ints, length_B: Ints
) -> None:
    """Whole traces of `--ask path`: a chain from its first node on, each node behind it an answer."""
    levels = node_BxN.shape[1] // 2
    for b in range(len(node_BxN)):
        tokens_L = tokens_BxL[b]
        at = _write_facts(node_BxN[b], order_BxF[b], tokens_L)
        first = asked_Bx4[b, 1] * levels
        tokens_L[at] = _NODE_0 + node_BxN[b, first]
        at += 1
        for j in range(levels - 1):
            following = _NODE_0 + node_BxN[b, first + j + 1]
            if j < searches:
                at = _write_search(tokens_L, at, _NODE_0 + node_BxN[b, first + j], following)
            tokens_L[at] = following + names
            at += 1
        length_B[b] = at


@njit(cache=True, nogil=True)
def _search_rows(tokens_BxL: Ints, length_B: Ints, names: int, result_B: Ints) -> None:
    """The result of the search that ends each row: what the first fact about its node says."""
    for b in range(len(tokens_BxL)):
        tokens_L, end, result_B[b] = tokens_BxL[b], length_B[b] - 1, FAILED
        begin = end - 4
        if begin < 0 or tokens_L[end] != ENDSEARCH or tokens_L[begin] != STARTSEARCH:
            continue
        node = tokens_L[begin + 2]
        formed = tokens_L[begin + 1] == _WORD and tokens_L[begin + 3] == _FOLLOWS
        if not formed or node < _NODE_0 or node >= _NODE_0 + names:
            continue
        for t in range(begin - 2):
            following = tokens_L[t + 2]
            if tokens_L[t] == node and tokens_L[t + 1] == _ARROW and _NODE_0 <= following < _NODE_0 + names:
                result_B[b] = following
                break
