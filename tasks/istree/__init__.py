"""IsTree: is the undirected graph, given as a list of edges in random order, a tree?

"RNNs are not Transformers (Yet)", Wen, Dang, Lyu (ICLR 2025), section 4.2; token for token their released
format.  The input is read once, `u - v` for each edge with the larger node first; the answer is `[TRUE]` or
`[FALSE]`.  The trace is a depth-first search from node 0 that takes neighbours in the order of their edges.

Worked example, the tree 5-1 4-0 4-2 5-3 2-1 on nodes 0..5 (a path 0-4-2-1-5-3):

    direct  [BOS] 5 - 1 4 - 0 4 - 2 5 - 3 2 - 1 [EOS] [TRUE]
    cot     [BOS] ... [EOS] 0 4 2 1 5 3 5 1 2 4 0 [EOS] [TRUE]
    rag     [BOS] ... [EOS] 0 [STARTSEARCH] 0 ~ [ENDSEARCH] [FAILED] [STARTSEARCH] 0 - [ENDSEARCH] 4 ...

cot writes a node when it is entered and at each return, and stops before it would enter a visited node
again.  rag keeps no memory: `v ~` asks for v's father, `v -` for v's first edge, `v - w` for its edge
after the one with w; `w ~ v` states that v is w's father.  `python -m retrieval_gap.tasks.istree.statistics`
prints what the families look like, and what degrees reveal about the label.

With `names` above n (`--names 16`) the nodes of a graph are 0 and n - 1 other numbers below `names`: a model trained
so can be tested on graphs of up to `names` nodes.

Axes: B samples, E edges, L positions.

    >>> from retrieval_gap.tasks.registry import shown
    >>> print(shown("istree", n=4, mode="cot"))  # doctest: +NORMALIZE_WHITESPACE
    [BOS] 1 - 0 3 - 1 3 - 0 [EOS] 0 1 3 [EOS] [FALSE]
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..api import (
    CONTROL_TOKENS,
    FALSE,
    LEFT_OUT_BY_DEFAULT,
    TRUE,
    Batch,
    Mode,
    Task,
    TaskConfig,
    TaskError,
    TaskOptions,
    check_choice,
    check_option,
)
from ..randomness import SPLITS, stream_key
from .families import FAMILIES, sample_graphs
from .names import draw_names, rename
from .search import pattern_of, search_batch
from .traces import MODES, NODE_0, longest_trace, write_traces

LARGEST = 1024


@dataclass(frozen=True, kw_only=True)
class IsTreeOptions(TaskOptions):
    """names: number of node names, n or more; 0 means n."""

    names: int = field(default=0, metadata=LEFT_OUT_BY_DEFAULT)


class IsTree(Task):
    """The task; `config.n` counts nodes."""

    name: ClassVar[str] = "istree"
    modes: ClassVar[tuple[Mode, ...]] = ("direct", "cot", "rag")
    families: ClassVar[tuple[str, ...]] = FAMILIES
    n_range: ClassVar[tuple[int, int]] = (4, LARGEST)
    size_flag: ClassVar[str] = "--n-nodes"
    options_type: ClassVar[type[TaskOptions]] = IsTreeOptions
    options: IsTreeOptions

    def __init__(self, config: TaskConfig) -> None:
        super().__init__(config)
        self._key = stream_key(self.name, self.family, self.config)
        self._family = FAMILIES.index(self.family)
        self._split = SPLITS.index(config.split)
        self._mode = MODES.index(config.mode)

    def settle(self, options: IsTreeOptions, n: int) -> IsTreeOptions:
        if options.names == 0:
            return options
        check_option(self.name, "names", options.names, n, LARGEST)
        return replace(options, names=0 if options.names == n else options.names)

    @cached_property
    def vocabulary(self) -> tuple[str, ...]:
        return vocabulary(self.options.names or self.config.n)

    @property
    def answers(self) -> tuple[int, ...]:
        return (TRUE, FALSE)

    @property
    def max_length(self) -> int:
        """3n, 5n, 40n - 25 for direct, cot, rag: the length of every tree's trace, which no other graph exceeds."""
        return longest_trace(self.config.n, self.config.mode, self.config.n - 1)

    def sample(self, index_B: NDArray[np.int64]) -> Batch:
        index_B = np.asarray(index_B, np.int64)
        batch = len(index_B)
        edges_BxEx2 = np.empty((batch, self.config.n - 1, 2), np.int32)
        is_tree_B = np.empty(batch, np.bool_)
        failed = sample_graphs(self._key, index_B, self._family, self._split, edges_BxEx2, is_tree_B)
        if failed >= 0:
            raise TaskError(
                f"{self.name}: no {'tree' if is_tree_B[failed] else 'non-tree'} of family {self.family} with"
                f" n = {self.config.n} found in split {self.config.split}; choose a larger n"
            )
        traces = _write(edges_BxEx2, self.config.n, self._mode, is_tree_B)
        if self.options.names:
            name_BxN = np.empty((batch, self.config.n), np.int32)
            draw_names(self._key, index_B, self.options.names, name_BxN)
            rename(traces.tokens_BxL, name_BxN)
        return traces

    def edges(self, tokens_L: NDArray[np.int32]) -> list[tuple[int, int]]:
        """The edges of a trace's prompt, in input order."""
        ends_Ex3 = np.asarray(tokens_L[1 : 3 * self.config.n - 2]).reshape(-1, 3) - NODE_0
        return [(int(u), int(v)) for u, _, v in ends_Ex3]

    def described(self, tokens_L: NDArray[np.int32], index: int) -> dict[str, Any]:
        return {"edges": self.edges(tokens_L)}

    def search_pattern(self, query: Sequence[str]) -> str | None:
        return pattern_of(query)

    def fast_search(self, tokens_BxL: NDArray[np.int32], length_B: NDArray[np.int32]) -> NDArray[np.int32]:
        return search_batch(np.asarray(tokens_BxL), np.asarray(length_B))


TASK = IsTree


def vocabulary(n: int) -> tuple[str, ...]:
    """Token spellings for graphs of n nodes: control tokens, `-` (edge), `~` (father), then node names."""
    return (*CONTROL_TOKENS, "-", "~", *(str(v) for v in range(n)))


def trace(edges: ArrayLike, n: int, mode: Mode) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """Tokens and loss mask of one simple graph on nodes 0..n-1: any number of edges, in input order.

    edges: pairs of whole numbers (Ex2), or none.  Raises TaskError for an edge that is not a pair of different nodes in
    0..n-1 or occurs twice, for an unknown mode, and for n < 1.
    """
    check_choice(IsTree.name, "mode", mode, MODES)
    if n < 1:
        raise TaskError(f"istree: n = {n} nodes; expected 1 or more")
    given_Ex2 = _pairs(edges)
    pairs = {(min(u, v), max(u, v)) for u, v in given_Ex2.tolist()}
    if any(not 0 <= u < v < n for u, v in pairs) or len(pairs) < len(given_Ex2):
        raise TaskError(f"istree: not a simple graph on nodes 0..{n - 1}: {given_Ex2.tolist()}")
    edges_Ex2 = given_Ex2.astype(np.int32)
    is_tree_B = np.empty(1, np.bool_)
    # In direct mode the answer comes from the search that writes the tour.
    batch = _write(edges_Ex2[None], n, MODES.index("cot"), is_tree_B)
    if mode != "cot":
        batch = _write(edges_Ex2[None], n, MODES.index(mode), is_tree_B)
    return batch.tokens_BxL[0], batch.loss_mask_BxL[0]


def _pairs(edges: ArrayLike) -> NDArray[np.integer]:
    """Raises TaskError for anything but a list of pairs of whole numbers."""
    try:
        found = np.asarray(edges)
    except ValueError:  # rows of several lengths
        found = np.empty(0, np.object_)
    if found.size == 0 and found.shape in ((0,), (0, 2)) and found.dtype != np.object_:
        return np.empty((0, 2), np.int32)
    if found.ndim != 2 or found.shape[1] != 2 or not np.issubdtype(found.dtype, np.integer):
        raise TaskError("istree: edges are pairs of whole numbers, such as [(0, 1), (1, 2)]")
    return found


def _write(edges_BxEx2: NDArray[np.int32], n: int, mode: int, is_tree_B: NDArray[np.bool_]) -> Batch:
    batch, edges, _ = edges_BxEx2.shape
    longest = longest_trace(n, MODES[mode], edges)
    tokens_BxL = np.zeros((batch, longest), np.int32)
    loss_mask_BxL = np.zeros((batch, longest), np.bool_)
    length_B = np.zeros(batch, np.int32)
    write_traces(edges_BxEx2, n, mode, tokens_BxL, loss_mask_BxL, length_B, is_tree_B)
    width = int(length_B.max(initial=0))
    if width < longest:  # a batch without a tree
        tokens_BxL = np.ascontiguousarray(tokens_BxL[:, :width])
        loss_mask_BxL = np.ascontiguousarray(loss_mask_BxL[:, :width])
    return Batch(
        tokens_BxL=tokens_BxL,
        loss_mask_BxL=loss_mask_BxL,
        prompt_len_B=np.full(batch, 2 + 3 * edges, np.int32),
        length_B=length_B,
        answer_B=np.where(is_tree_B, TRUE, FALSE).astype(np.int32),
    )
