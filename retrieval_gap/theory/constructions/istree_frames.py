"""IsTree with the chain of thought that the hybrid of theorem 5.7 writes.

One attention layer does one look-up per token, and its result reaches the recurrent layers below it only as the written
token.  The tour of the `cot` view is too short for that: the edge from which the search continues takes one look-up,
the edge after it a second.  So this trace has more tokens, still O(n), in the task's own vocabulary.

* Records, four tokens for each edge u - w in the prompt's order: `u w p q`, where p is the number of the previous edge
  with u and q of that with w, `[FAILED]` for none.  Edge number e (from 0) is written as the node of that name.  Then
  `[EOS]`.
* Frames, five tokens each: `v f e k w`: at node v with father f, the edge after e is k, which leads to w.  `[FAILED]`
  is none.  The next frame is about w (if the tour has not been there), v again (if w is f), or f (if there is no k).
* `[EOS]`, and the answer.

Worked example, the triangle 2-0 2-1 1-0 and a separate edge 4-3:

    2 0 F F  2 1 0 F  1 0 1 0  4 3 F F [EOS]
    0 F F 0 2  2 0 F 0 0  2 0 0 1 1  1 2 F 1 2  1 2 1 2 0 [EOS] [FALSE]
"""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from retrieval_gap.tasks.api import EOS, FAILED, FALSE, TRUE, Batch, Mode
from retrieval_gap.tasks.istree import IsTree
from retrieval_gap.tasks.istree.traces import NODE_0


class IsTreeFrames(IsTree):
    """The task with one view, `cot`: records and frames."""

    modes: ClassVar[tuple[Mode, ...]] = ("cot",)

    @property
    def max_length(self) -> int:
        """22n - 12: prompt 3n - 1, records 4n - 3, a tree's 3n - 2 frames of five tokens, and 2."""
        return 22 * self.config.n - 12

    def sample(self, index_B: NDArray[np.int64]) -> Batch:
        tours = super().sample(index_B)
        traces = []
        for tokens_L, prompt in zip(tours.tokens_BxL, tours.prompt_len_B, strict=True):
            traces.append([*tokens_L[:prompt].tolist(), *frames_of(self.edges(tokens_L), self.config.n)])
        length_B = np.array([len(trace) for trace in traces], np.int32)
        tokens_BxL = np.zeros((len(traces), int(length_B.max(initial=1))), np.int32)
        for row_L, trace in zip(tokens_BxL, traces, strict=True):
            row_L[: len(trace)] = trace
        place_L = np.arange(tokens_BxL.shape[1])
        graded_BxL = (place_L >= tours.prompt_len_B[:, None]) & (place_L < length_B[:, None])
        return Batch(tokens_BxL, graded_BxL, tours.prompt_len_B, length_B, tours.answer_B)


def frames_of(edges: Sequence[tuple[int, int]], nodes: int) -> list[int]:
    """The tokens after the prompt: records, frames and the answer."""
    written, after = _records(edges)
    written.append(EOS)
    fathers: dict[int, int] = {0: FAILED}
    entered_by: dict[int, int] = {}
    v, e = 0, FAILED
    while True:
        k, w = after.get((v, e), (FAILED, FAILED))
        written += [NODE_0 + v, fathers[v], e, k, w]
        if w == FAILED and v == 0:
            return [*written, EOS, TRUE if len(fathers) == nodes else FALSE]
        if w == FAILED:
            v, e = fathers[v] - NODE_0, entered_by[v]
        elif w == fathers[v]:
            e = k
        elif w - NODE_0 in fathers:
            return [*written, EOS, FALSE]
        else:
            fathers[w - NODE_0], entered_by[w - NODE_0] = NODE_0 + v, k
            v, e = w - NODE_0, FAILED


def _records(edges: Sequence[tuple[int, int]]) -> tuple[list[int], dict[tuple[int, int], tuple[int, int]]]:
    """The records; and by (node, edge), the node's next edge and where it leads, both as they are written."""
    written: list[int] = []
    latest: dict[int, int] = {}
    after = {}
    for number, (u, w) in enumerate(edges):
        before = [latest.get(u, FAILED), latest.get(w, FAILED)]
        written += [NODE_0 + u, NODE_0 + w, *before]
        for node, other, previous in ((u, w, before[0]), (w, u, before[1])):
            after[node, previous] = (NODE_0 + number, NODE_0 + other)
            latest[node] = NODE_0 + number
    return written, after
