"""The searches of IsTree traces, as regular expressions over text, and the same over token numbers.

Axes: B samples, L positions.  Three queries exist:

    v ~      the father of v: the first `v ~ f` in the text before
    v -      the other end of v's first edge in the prompt
    v - w    the other end of v's next edge after its (first) edge with w, in prompt order

Edges are searched for in the prompt only: `[STARTSEARCH] 4 - 0 [ENDSEARCH]` later in the text is a question,
not an edge.  A pattern walks from `[BOS]` edge by edge, so it cannot pass the `[EOS]` that ends the prompt.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..api import BOS, ENDSEARCH, FAILED, STARTSEARCH
from ..compiled import njit
from .traces import EDGE, FATHER, NODE_0

Ints = NDArray[np.int32]

_EDGES = r"(?: \d+ - \d+)*?"


def pattern_of(query: Sequence[str]) -> str | None:
    """The RE2 pattern of a query given as token spellings, or None if it is not one of the three.

    An edge can be written in either direction, so its pattern has two groups; the one that took part in the
    match is the result.
    """
    match tuple(query):
        case (v, "~") if v.isdecimal():
            return rf"(?:^| ){v} ~ (\d+)(?: |$)"
        case (v, "-") if v.isdecimal():
            return rf"^\[BOS\]{_EDGES} {_edge_of(v)}(?: |$)"
        case (v, "-", w) if v.isdecimal() and w.isdecimal():
            return rf"^\[BOS\]{_EDGES} (?:{v} - {w}|{w} - {v}){_EDGES} {_edge_of(v)}(?: |$)"
    return None


def _edge_of(v: str) -> str:
    return rf"(?:{v} - (\d+)|(\d+) - {v})"


@njit(cache=True, nogil=True)
def _father(tokens_L: Ints, end: int, v: int) -> int:
    for t in range(end - 2):
        if tokens_L[t] == v and tokens_L[t + 1] == FATHER and tokens_L[t + 2] >= NODE_0:
            return tokens_L[t + 2]
    return FAILED


@njit(cache=True, nogil=True)
def _edge(tokens_L: Ints, end: int, v: int, after: int) -> int:
    """The other end of v's first edge, or (`after` >= 0) of the first one after its edge with `after`."""
    if end == 0 or tokens_L[0] != BOS:
        return FAILED
    passed = after < 0
    t = 1
    while t + 2 < end and tokens_L[t] >= NODE_0 and tokens_L[t + 1] == EDGE and tokens_L[t + 2] >= NODE_0:
        left, right = tokens_L[t], tokens_L[t + 2]
        if left == v or right == v:
            other = right if left == v else left
            if passed:
                return other
            passed = other == after
        t += 3
    return FAILED


@njit(cache=True, nogil=True)
def _search(tokens_L: Ints, length: int) -> int:
    """The result of the search whose `[ENDSEARCH]` is the token before position `length`."""
    if length < 1 or tokens_L[length - 1] != ENDSEARCH:
        return FAILED
    begin = length - 2
    while begin >= 0 and tokens_L[begin] != STARTSEARCH:
        begin -= 1
    size = length - 2 - begin
    if begin < 0 or size < 2 or size > 3 or tokens_L[begin + 1] < NODE_0:
        return FAILED
    v, sign = tokens_L[begin + 1], tokens_L[begin + 2]
    if size == 2 and sign == FATHER:
        return _father(tokens_L, begin, v)
    if size == 2 and sign == EDGE:
        return _edge(tokens_L, begin, v, -1)
    if size == 3 and sign == EDGE and tokens_L[begin + 3] >= NODE_0:
        return _edge(tokens_L, begin, v, tokens_L[begin + 3])
    return FAILED


@njit(cache=True, nogil=True)
def _search_rows(tokens_BxL: Ints, length_B: Ints, result_B: Ints) -> None:
    for b in range(len(tokens_BxL)):
        result_B[b] = _search(tokens_BxL[b], length_B[b])


def search_batch(tokens_BxL: NDArray[np.int32], length_B: NDArray[np.int32]) -> NDArray[np.int32]:
    """The result token of the search that ends each row; FAILED if there is no search, or it finds nothing."""
    result_B = np.empty(len(tokens_BxL), np.int32)
    _search_rows(tokens_BxL, length_B, result_B)
    return result_B
