"""Find a path: read a directed graph as facts `a > b` in any order, then two nodes; does the first lead to the second?

After the logical graphs of Malach et al. (2025, arXiv 2510.14826), whose models search by `find(a)`.  The graph is two
parts of one shape: a chain of d links, d = (n/2 + 1) // 3, whose nodes have dead ends: one that they lead to (not the
last node) and one that leads to them (not the first), for as many of these 2d places, uniformly chosen, as there are
nodes left.  Names are uniform.  So a walk meets forks in both directions, and whoever takes the first fact of each node
ends in a dead end soon.  The start is the first node of either chain, the target a uniform other node of either chain:
the answer is a fair coin.  Whoever knows all names and the shape beforehand still needs d bits of the graph to be
always right (docs/theory.md, section 5); whoever searches needs the names of three nodes.

Four ways to answer: `direct`; `cot`, which writes the nodes that a depth-first search visits; `rag`, where each of them
is found by a search (`--calls many`), for what follows a node or what follows it behind another; and `rag` with
`--calls one`, where a search finds the first of them alone.  A dead end is left as soon as nothing follows it; where
nothing else follows the node before it, the walk is over.  With `--ask path` the target is the last node of the start's
chain and the answer is all nodes between the two, spelled `=7`, each graded: `direct` writes them, and there is no
`cot`.  With `--names 1000` the nodes of smaller graphs have names below 1,000: a model trained so can be tested on
graphs of up to 1,000 nodes.

Worked example, n = 6, links 4 > 0 and 5 > 1, dead ends 2 and 3:

    direct           [BOS] 4 > 2 5 > 1 4 > 0 5 > 3 [EOS] 4 0 [TRUE]
    cot              ... [EOS] 4 0 2 0 [EOS] [TRUE]
    rag              ... [EOS] 4 0 S W 4 F E 2 S W 2 F E [FAILED] S W 4 A 2 L 4 F E 0 [EOS] [TRUE]
    rag, no path     ... [EOS] 5 0 S W 5 F E 1 S W 1 F E [FAILED] S W 5 A 1 L 5 F E 3 S W 3 F E [FAILED]
                               S W 5 A 3 L 5 F E [FAILED] [EOS] [FALSE]
    rag, one call    ... [EOS] 4 0 S W 4 F E 2 0 [EOS] [TRUE]

where S, E are [STARTSEARCH], [ENDSEARCH], and W, F, A, L the patterns (?:^|\\s), \\s>\\s(\\d+), \\s>\\s, \\s(?:.*?\\s)?

Axes: B samples, L positions, N nodes (a chain and its dead ends, then the others), F facts, K dead ends of a chain,
S steps of a walk.

    >>> from retrieval_gap.tasks.registry import shown
    >>> print(shown("find_path", n=6, mode="cot"))  # doctest: +NORMALIZE_WHITESPACE
    [BOS] 4 > 0 3 > 5 3 > 1 4 > 2 [EOS] 3 5 5 [EOS] [TRUE]
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar, NamedTuple

import numpy as np
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
from .compiled import njit
from .randomness import SPLITS, Rng, below, hash_on, mix, split_of, start, stream_key
from .recall import Ints, shuffle

WORD, FOLLOWS, LEADS, LATER, ARROW = r"(?:^|\s)", r"\s>\s(\d+)", r"\s>\s", r"\s(?:.*?\s)?", ">"
REACH, PATH = "reach", "path"
MANY, ONE = "many", "one"
LARGEST = 4096

_WORD = len(CONTROL_TOKENS)
_FOLLOWS, _LEADS, _LATER, _ARROW, _NODE_0 = (_WORD + k for k in range(1, 6))
_FIRST, _NEXT = 6, 10  # tokens of a search with its result: for what follows a node, for what follows it later
_NONE = -1  # no node


@dataclass(frozen=True, kw_only=True)
class PathOptions(TaskOptions):
    """names: how many there are for nodes, n or more; 0 means n.  ask: whether the target is reached (`reach`), or for
    the nodes of the `path`.  calls: searches of a trace, `many` or `one`."""

    names: int = 0
    ask: str = REACH
    calls: str = MANY


class FindPath(Task):
    """The task; n is even.  Raises TaskError where it is not, for a path as a chain of thought, and for a path with
    nothing between its ends."""

    name: ClassVar[str] = "find_path"
    modes: ClassVar[tuple[Mode, ...]] = ("direct", "cot", "rag")
    n_range: ClassVar[tuple[int, int]] = (6, LARGEST)
    size_flag: ClassVar[str] = "--n-nodes"
    options_type: ClassVar[type[TaskOptions]] = PathOptions
    options: PathOptions

    def __init__(self, config: TaskConfig) -> None:
        super().__init__(config)
        if config.n % 2:
            raise TaskError(f"{self.name}: {self.size_flag} {config.n} is odd, and the nodes are two parts of as many")
        if self.asks_path and config.mode == "cot":
            raise TaskError(f"{self.name}: --ask path writes the path as its answer; choose mode direct or rag")
        if self.asks_path and self.links < 2:
            raise TaskError(f"{self.name}: --ask path wants {self.size_flag} 10 or more: below, no node is between")

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
    def links(self) -> int:
        """Of a chain."""
        return (self.config.n // 2 + 1) // 3

    @property
    def dead_ends(self) -> int:
        """Of a chain: at most two a link."""
        return self.config.n // 2 - 1 - self.links

    @cached_property
    def vocabulary(self) -> tuple[str, ...]:
        names = [str(name) for name in range(self.options.names)]
        written = ["=" + name for name in names] if self.asks_path else []
        return (*CONTROL_TOKENS, WORD, FOLLOWS, LEADS, LATER, ARROW, *names, *written)

    @property
    def answers(self) -> tuple[int, ...]:
        first = _NODE_0 + self.options.names
        return tuple(range(first, first + self.options.names)) if self.asks_path else (TRUE, FALSE)

    @property
    def questions(self) -> int:
        return self.links - 1 if self.asks_path else 1

    @property
    def bits_to_cross(self) -> float:
        """Bits of a graph that decide all answers, where names and shape are known."""
        return float(self.links - 1 if self.asks_path else self.links)

    @property
    def context_len(self) -> int:
        """Tokens of every prompt up to the end of the facts."""
        return 3 * (self.config.n - 2) + 2

    @property
    def max_length(self) -> int:
        """The longest trace meets all dead ends that there can be, and searches on to the end of its chain."""
        prompt, one = self.context_len + 2, self.options.calls == ONE
        links = self.questions if self.asks_path else self.links
        forks = min(links, self.dead_ends)
        searched = _FIRST * (links + 1) + (_FIRST + _NEXT) * forks
        if self.asks_path:
            return prompt + links + {"direct": 0, "rag": _FIRST if one else searched}[self.config.mode]
        if self.config.mode == "direct":
            return prompt + 1
        visited = links + forks
        calls = _FIRST + visited - 1 if one else searched + _NEXT
        return prompt + (visited if self.config.mode == "cot" else calls) + 2

    @property
    def problem_key(self) -> np.uint64:
        """Of the samples' streams: one call and many show the same problems."""
        options = written_options(replace(self.options, calls=MANY))
        return stream_key(self.name, self.family, replace(self.config, options=options))

    def sample(self, index_B: NDArray[np.int64]) -> Batch:
        index_B = np.asarray(index_B, np.int64)
        size, facts = len(index_B), self.config.n - 2
        node_BxN = np.empty((size, self.config.n), np.int32)
        place_BxK = np.empty((size, self.dead_ends), np.int32)
        order_BxF = np.empty((size, facts), np.int32)
        asked_Bx3 = np.empty((size, 3), np.int32)
        graphs = Graphs(node_BxN, place_BxK, order_BxF, asked_Bx3)
        _sample_problems(self.problem_key, index_B, SPLITS.index(self.config.split), self.options.names, graphs)
        if self.asks_path:
            asked_Bx3[:, 1], asked_Bx3[:, 2] = self.links, asked_Bx3[:, 0]
        tokens_BxL = np.full((size, self.max_length), PAD, np.int32)
        length_B = np.empty(size, np.int32)
        searches = {"direct": 0, "cot": 0, "rag": 1 if self.options.calls == ONE else LARGEST}[self.config.mode]
        thinks = self.config.mode != "direct"
        _write_traces(graphs, self.options.names, searches, thinks, self.asks_path, tokens_BxL, length_B)
        prompt, longest = self.context_len + 2, int(length_B.max(initial=0))
        place_L = np.arange(longest)
        loss_mask_BxL = (place_L >= prompt) & (place_L < length_B[:, None])
        loss_mask_BxL[:, 1:] &= tokens_BxL[:, : max(0, longest - 1)] != ENDSEARCH
        return Batch(
            tokens_BxL=np.ascontiguousarray(tokens_BxL[:, :longest]),
            loss_mask_BxL=loss_mask_BxL,
            prompt_len_B=np.full(size, prompt, np.int32),
            length_B=length_B,
            answer_B=tokens_BxL[np.arange(size), length_B - 1].copy(),
        )

    def search_pattern(self, query: Sequence[str]) -> str | None:
        nodes = [word for word in query if word.isdecimal()]
        first = [WORD, *nodes[:1], FOLLOWS]
        later = [WORD, *nodes[:1], LEADS, *nodes[1:2], LATER, *nodes[:1], FOLLOWS]
        formed = nodes and list(query) in (first, later)
        return "".join(query) if formed else None

    def fast_search(self, tokens_BxL: NDArray[np.int32], length_B: NDArray[np.int32]) -> NDArray[np.int32]:
        result_B = np.empty(len(tokens_BxL), np.int32)
        _search_rows(tokens_BxL, length_B, self.options.names, result_B)
        return result_B


TASK = FindPath


class Graphs(NamedTuple):
    """Problems.  A node is its chain's number times n/2 plus its own: 0 to d along the chain, then the dead ends.

    place_BxK: dead end k is what node j leads to (j below d), or leads to node j - d + 1; the same on both chains.
    order_BxF: the facts as they are written; fact f % (n/2 - 1) of a chain is its link f, then its dead end f - d.
    asked_Bx3: the chain of the start; the target's node on its chain, and that chain.
    """

    node_BxN: Ints
    place_BxK: Ints
    order_BxF: Ints
    asked_Bx3: Ints


@njit(cache=True, nogil=True)
def _ends_of(fact: int, half: int, links: int, place_K: Ints) -> tuple[int, int]:
    """The two nodes of a fact, the one that leads to the other first."""
    chain, link = fact // (half - 1) * half, fact % (half - 1)
    if link < links:
        return chain + link, chain + link + 1
    place, dead_end = place_K[link - links], chain + link + 1
    if place < links:
        return chain + place, dead_end
    return dead_end, chain + place - links + 1


@njit(cache=True, nogil=True)
def _draw_first(rng: Rng, item_N: Ints, drawn_K: Ints) -> None:
    """The first of a uniform order of all items, which stay in the order that they are left in."""
    for k in range(len(drawn_K)):
        other = k + below(rng, len(item_N) - k)
        item_N[k], item_N[other] = item_N[other], item_N[k]
        drawn_K[k] = item_N[k]


@njit(cache=True, nogil=True)
def _sample_problems(key: np.uint64, index_B: NDArray[np.int64], split: int, names: int, graphs: Graphs) -> None:
    """Graphs, drawn again until the split owns them, whatever the order of their facts; that order; the question."""
    rng = np.empty(1, np.uint64)
    half = graphs.node_BxN.shape[1] // 2
    dead_ends, facts = graphs.place_BxK.shape[1], graphs.order_BxF.shape[1]
    links = half - 1 - dead_ends
    name_N, place_K = np.empty(names, np.int32), np.empty(2 * links, np.int32)
    for b in range(len(index_B)):
        node_N, attempt, owner = graphs.node_BxN[b], 0, -1
        while owner != split:
            start(rng, key, index_B[b], attempt)
            attempt += 1
            for k in range(names):
                name_N[k] = k
            for k in range(2 * links):
                place_K[k] = k
            _draw_first(rng, name_N, node_N)
            _draw_first(rng, place_K, graphs.place_BxK[b])
            hashed = np.uint64(0)
            for f in range(facts):
                one, other = _ends_of(f, half, links, graphs.place_BxK[b])
                hashed += mix(hash_on(np.uint64(1 + node_N[one]), node_N[other]))
            owner = split_of(mix(hashed))
        for f in range(facts):
            graphs.order_BxF[b, f] = f
        shuffle(rng, graphs.order_BxF[b])
        graphs.asked_Bx3[b, 0] = below(rng, 2)
        graphs.asked_Bx3[b, 1] = 1 + below(rng, links)
        graphs.asked_Bx3[b, 2] = below(rng, 2)


@njit(cache=True, nogil=True)
def _walk(first: int, target: int, child_Nx2: Ints, step_Sx4: Ints) -> int:
    """A search from the first node until the target is found or nothing else; how many steps it takes.

    A step: the node of which something is sought that follows, behind which other one or _NONE, what is found or
    _NONE; the node that the search now knows to be on the path, or _NONE.
    """
    node, found, steps = first, child_Nx2[first, 0], 1
    step_Sx4[0, 0], step_Sx4[0, 1], step_Sx4[0, 2], step_Sx4[0, 3] = first, _NONE, found, _NONE
    while found != _NONE and found != target:
        child = child_Nx2[found, 0]
        passed = _NONE if child == _NONE else found
        step_Sx4[steps, 0], step_Sx4[steps, 1], step_Sx4[steps, 2], step_Sx4[steps, 3] = found, _NONE, child, passed
        steps += 1
        if child != _NONE:
            node, found = found, child
            continue
        behind, found = found, child_Nx2[node, 1] if child_Nx2[node, 0] == found else _NONE
        step_Sx4[steps, 0], step_Sx4[steps, 1], step_Sx4[steps, 2], step_Sx4[steps, 3] = node, behind, found, _NONE
        steps += 1
    return steps


@njit(cache=True, nogil=True)
def _write_search(tokens_L: Ints, at: int, node: int, behind: int, result: int) -> int:
    """A search for what follows a node (behind another), and its result; where that ends."""
    tokens_L[at], tokens_L[at + 1], tokens_L[at + 2] = STARTSEARCH, _WORD, _NODE_0 + node
    at += 3
    if behind != _NONE:
        tokens_L[at], tokens_L[at + 1], tokens_L[at + 2] = _LEADS, _NODE_0 + behind, _LATER
        tokens_L[at + 3] = _NODE_0 + node
        at += 4
    tokens_L[at], tokens_L[at + 1] = _FOLLOWS, ENDSEARCH
    tokens_L[at + 2] = FAILED if result == _NONE else _NODE_0 + result
    return at + 3


@njit(cache=True, nogil=True)
def _write_traces(
    graphs: Graphs, names: int, searches: int, thinks: bool, asks_path: bool, tokens_BxL: Ints, length_B: Ints
) -> None:
    """Whole traces: facts, question, the walk as far as a view shows it, the answers."""
    half, facts = graphs.node_BxN.shape[1] // 2, graphs.order_BxF.shape[1]
    links = half - 1 - graphs.place_BxK.shape[1]
    child_Nx2, step_Sx4 = np.empty((names, 2), np.int32), np.empty((2 * half + 4, 4), np.int32)
    for b in range(len(tokens_BxL)):
        tokens_L, node_N = tokens_BxL[b], graphs.node_BxN[b]
        for node in node_N:
            child_Nx2[node, 0] = child_Nx2[node, 1] = _NONE
        tokens_L[0] = BOS
        for f in range(facts):
            one, other = _ends_of(graphs.order_BxF[b, f], half, links, graphs.place_BxK[b])
            one, other, at = node_N[one], node_N[other], 1 + 3 * f
            tokens_L[at], tokens_L[at + 1], tokens_L[at + 2] = _NODE_0 + one, _ARROW, _NODE_0 + other
            child_Nx2[one, 0 if child_Nx2[one, 0] == _NONE else 1] = other
        chain, place, its_chain = graphs.asked_Bx3[b]
        first, target, at = node_N[chain * half], node_N[its_chain * half + place], 1 + 3 * facts
        tokens_L[at], tokens_L[at + 1], tokens_L[at + 2] = EOS, _NODE_0 + first, _NODE_0 + target
        at, answers = at + 3, 0
        for s in range(_walk(first, target, child_Nx2, step_Sx4)):
            node, behind, found, passed = step_Sx4[s]
            if s < searches:
                at = _write_search(tokens_L, at, node, behind, found)
            elif thinks and not asks_path and found != _NONE:
                tokens_L[at] = _NODE_0 + found
                at += 1
            if asks_path and passed != _NONE:
                tokens_L[at] = _NODE_0 + names + passed
                at += 1
                answers += 1
            if asks_path and answers == links - 1:
                break
        if not asks_path:
            tokens_L[at] = EOS
            at += 1 if thinks else 0
            tokens_L[at] = TRUE if chain == its_chain else FALSE
            at += 1
        length_B[b] = at


@njit(cache=True, nogil=True)
def _search_rows(tokens_BxL: Ints, length_B: Ints, names: int, result_B: Ints) -> None:
    """The result of the search that ends each row: the first fact about its node, or the first behind the one named."""
    for b in range(len(tokens_BxL)):
        tokens_L, end, result_B[b] = tokens_BxL[b], length_B[b] - 1, FAILED
        begin = end - 1
        while begin >= 0 and tokens_L[begin] != STARTSEARCH:
            begin -= 1
        if begin < 0 or tokens_L[end] != ENDSEARCH or tokens_L[begin + 1] != _WORD or tokens_L[end - 1] != _FOLLOWS:
            continue
        node, behind = tokens_L[begin + 2], _NONE
        if end - begin == _NEXT - 2:
            behind = tokens_L[begin + 4]
            if tokens_L[begin + 3] != _LEADS or tokens_L[begin + 5] != _LATER or tokens_L[begin + 6] != node:
                continue
        elif end - begin != _FIRST - 2:
            continue
        if not _NODE_0 <= node < _NODE_0 + names or (behind != _NONE and not _NODE_0 <= behind < _NODE_0 + names):
            continue
        t, passed = 0, behind == _NONE
        while t < begin - 2:
            following = tokens_L[t + 2]
            if tokens_L[t] == node and tokens_L[t + 1] == _ARROW:
                if passed and _NODE_0 <= following < _NODE_0 + names:
                    result_B[b] = following
                    break
                if following == behind:
                    passed = True
                    t += 2
            t += 1
