"""Find a path: read a directed graph as facts `a > b` in any order, then two nodes; does the first lead to the second?

After the logical graphs of Malach et al. (2025, arXiv 2510.14826), whose models search by `find(a)`.  The graph is two
parts of one shape.  Each is a chain of d links, d = (n/2 + 1) // 3, whose nodes can have dead ends: one that the node
leads to (not the last node) and one that leads to it (not the first).  The remaining nodes are the dead ends of a
uniform choice of these 2d places.  Names are uniform.  So a walk has forks in both directions, and taking the first
fact of each node soon ends in a dead end.  The start is the first node of either chain, the target a uniform node of
either chain except its first: the answer is a fair coin.  A reader that knows all names and the shape beforehand still
needs d bits of the graph to be always right (docs/theory.md, section 5); one that searches needs three nodes' names.

Four ways to answer: `direct`; `cot`, which writes the nodes that a depth-first search visits; `rag`, where a search
finds each of them (`--calls many`), as a node's first child or its next child after another; and `rag` with `--calls
one`, where a search finds only the first of them.  A dead end is left as soon as nothing follows it; if nothing else
follows the node before it, the walk ends.  With `--ask path` the target is the last node of the start's chain and the
answer is all nodes between the two, spelled `=7`, each graded: `direct` writes them, and there is no `cot`.  With
`--names 1000` the nodes of smaller graphs have names below 1,000: a model trained so can be tested on graphs of up to
1,000 nodes.

Worked example, n = 6, links 4 > 0 and 5 > 1, dead ends 2 and 3:

    direct           [BOS] 4 > 2 5 > 1 4 > 0 5 > 3 [EOS] 4 0 [TRUE]
    cot              ... [EOS] 4 0 2 0 [EOS] [TRUE]
    rag              ... [EOS] 4 0 S W 4 F E 2 S W 2 F E [FAILED] S W 4 A 2 L 4 F E 0 [EOS] [TRUE]
    rag, no path     ... [EOS] 5 0 S W 5 F E 1 S W 1 F E [FAILED] S W 5 A 1 L 5 F E 3 S W 3 F E [FAILED]
                               S W 5 A 3 L 5 F E [FAILED] [EOS] [FALSE]
    rag, one call    ... [EOS] 4 0 S W 4 F E 2 0 [EOS] [TRUE]

where S, E are [STARTSEARCH], [ENDSEARCH], and W, F, A, L the patterns (?:^|\\s), \\s>\\s(\\d+), \\s>\\s, \\s(?:.*?\\s)?

Axes: B samples, L positions, N nodes (a chain and its dead ends, then the others), F facts, K dead ends of a chain.

    >>> from retrieval_gap.tasks.registry import shown
    >>> print(shown("find_path", n=6, mode="cot"))  # doctest: +NORMALIZE_WHITESPACE
    [BOS] 4 > 0 3 > 5 3 > 1 4 > 2 [EOS] 3 5 5 [EOS] [TRUE]
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from .api import (
    CONTROL_TOKENS,
    ENDSEARCH,
    FALSE,
    PAD,
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
from .randomness import SPLITS, stream_key
from .walks import FIRST, NEXT, NODE_0, Graphs, sample_problems, search_rows, write_traces

WORD, FOLLOWS, LEADS, LATER, ARROW = r"(?:^|\s)", r"\s>\s(\d+)", r"\s>\s", r"\s(?:.*?\s)?", ">"
REACH, PATH = "reach", "path"
MANY, ONE = "many", "one"
LARGEST = 4096


@dataclass(frozen=True, kw_only=True)
class PathOptions(TaskOptions):
    """names: number of node names, n or more; 0 means n.  ask: whether the target is reached (`reach`), or for the
    nodes of the `path`.  calls: searches per trace, `many` or `one`."""

    names: int = 0
    ask: str = REACH
    calls: str = MANY


class FindPath(Task):
    """The task.  Raises TaskError for an odd n, for `--ask path` in mode `cot`, and for a path with no node between its
    ends."""

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
        """Links of a chain."""
        return (self.config.n // 2 + 1) // 3

    @property
    def dead_ends(self) -> int:
        """Dead ends of a chain, at most two per link."""
        return self.config.n // 2 - 1 - self.links

    @cached_property
    def vocabulary(self) -> tuple[str, ...]:
        names = [str(name) for name in range(self.options.names)]
        written = ["=" + name for name in names] if self.asks_path else []
        return (*CONTROL_TOKENS, WORD, FOLLOWS, LEADS, LATER, ARROW, *names, *written)

    @property
    def answers(self) -> tuple[int, ...]:
        first = NODE_0 + self.options.names
        return tuple(range(first, first + self.options.names)) if self.asks_path else (TRUE, FALSE)

    @property
    def questions(self) -> int:
        return self.links - 1 if self.asks_path else 1

    @property
    def bits_to_cross(self) -> float:
        """Bits of a graph that determine all answers if names and shape are known."""
        return float(self.links - 1 if self.asks_path else self.links)

    @property
    def context_len(self) -> int:
        """Tokens of every prompt up to the end of the facts."""
        return 3 * (self.config.n - 2) + 2

    @property
    def max_length(self) -> int:
        """The longest trace visits every possible dead end, and searches to the end of its chain."""
        prompt, one = self.context_len + 2, self.options.calls == ONE
        links = self.questions if self.asks_path else self.links
        forks = min(links, self.dead_ends)
        searched = FIRST * (links + 1) + (FIRST + NEXT) * forks
        if self.asks_path:
            return prompt + links + {"direct": 0, "rag": FIRST if one else searched}[self.config.mode]
        if self.config.mode == "direct":
            return prompt + 1
        visited = links + forks
        calls = FIRST + visited - 1 if one else searched + NEXT
        return prompt + (visited if self.config.mode == "cot" else calls) + 2

    @property
    def problem_key(self) -> np.uint64:
        """Key of the samples' random streams: one call and many show the same problems."""
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
        sample_problems(self.problem_key, index_B, SPLITS.index(self.config.split), self.options.names, graphs)
        if self.asks_path:
            asked_Bx3[:, 1], asked_Bx3[:, 2] = self.links, asked_Bx3[:, 0]
        tokens_BxL = np.full((size, self.max_length), PAD, np.int32)
        length_B = np.empty(size, np.int32)
        searches = {"direct": 0, "cot": 0, "rag": 1 if self.options.calls == ONE else LARGEST}[self.config.mode]
        thinks = self.config.mode != "direct"
        write_traces(graphs, self.options.names, searches, thinks, self.asks_path, tokens_BxL, length_B)
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
        search_rows(tokens_BxL, length_B, self.options.names, result_B)
        return result_B


TASK = FindPath
