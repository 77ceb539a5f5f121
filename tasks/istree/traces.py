"""Writers of the three views of IsTree, for any simple graph given as an ordered list of edges.

Axes: B samples, E edges, L positions, N nodes.  A depth-first search runs from node 0 and visits neighbours
in the order of their edges; its steps are written as tokens into a row `out_L`, from position `at` on, and
every helper returns the position after its last token.  Formats: "RNNs are not Transformers (Yet)",
section 4.2, and the data released with it.
"""

import numpy as np
from numpy.typing import NDArray

from ..api import BOS, CONTROL_TOKENS, ENDSEARCH, EOS, FAILED, FALSE, STARTSEARCH, TRUE
from ..compiled import njit

Ints = NDArray[np.int32]
Bools = NDArray[np.bool_]

EDGE = len(CONTROL_TOKENS)
FATHER = EDGE + 1
NODE_0 = EDGE + 2

MODES = ("direct", "cot", "rag")
_COT, _RAG = 1, 2


def longest_trace(n: int, mode: str, edges: int) -> int:
    """Most tokens of a trace of a simple graph on n nodes; every tree's trace has exactly as many.

    A tree's tour has 2n - 1 nodes.  With retrieval each of these visits writes two searches, 6 + 5 tokens,
    and 1 more when it comes back from a child: 23n - 12.  Every node but the root reaches its father's edge
    (6) and is found new (8): 14n - 14.  Any other graph's search stays in its component, or is cut short at
    an edge back to a visited node; such an edge is first reached below that node, so the search spends 5
    tokens on it and saves at least the last return to the root, 11 tokens.
    """
    prompt = 2 + 3 * edges
    target = {"direct": 1, "cot": 2 * n + 1, "rag": 37 * n - 24}
    return prompt + target[mode]


@njit(cache=True, nogil=True)
def _node(v: int) -> int:
    """Token of node v; -1 means "none"."""
    return NODE_0 + v if v >= 0 else FAILED


@njit(cache=True, nogil=True)
def _write_prompt(edges_Ex2: Ints, out_L: Ints) -> int:
    out_L[0] = BOS
    at = 1
    for e in range(len(edges_Ex2)):
        u, v = edges_Ex2[e, 0], edges_Ex2[e, 1]
        out_L[at] = NODE_0 + max(u, v)
        out_L[at + 1] = EDGE
        out_L[at + 2] = NODE_0 + min(u, v)
        at += 3
    out_L[at] = EOS
    return at + 1


@njit(cache=True, nogil=True)
def _adjacency(edges_Ex2: Ints, stop_N: Ints, end_N: Ints, neighbour_2E: Ints) -> None:
    """Neighbours of v, in the order of the edges, become neighbour_2E[stop_N[v] : end_N[v]]."""
    end_N[:] = 0
    for e in range(len(edges_Ex2)):
        end_N[edges_Ex2[e, 0]] += 1
        end_N[edges_Ex2[e, 1]] += 1
    total = 0
    for v in range(len(end_N)):
        stop_N[v] = total
        total += end_N[v]
        end_N[v] = stop_N[v]
    for e in range(len(edges_Ex2)):
        u, v = edges_Ex2[e, 0], edges_Ex2[e, 1]
        neighbour_2E[end_N[u]] = v
        end_N[u] += 1
        neighbour_2E[end_N[v]] = u
        end_N[v] += 1


@njit(cache=True, nogil=True)
def _write_tour(
    at: int, out_L: Ints, stop_N: Ints, end_N: Ints, neighbour_2E: Ints, father_N: Ints, seen_N: Bools
) -> tuple[int, bool]:
    """Write the tour: a node when the search enters it and again at each return.  Also: is the graph a tree?"""
    seen_N[:] = False
    seen_N[0] = True
    father_N[0] = -1
    found = 1
    v = 0
    while v >= 0:
        out_L[at] = NODE_0 + v
        at += 1
        entered = -1
        while stop_N[v] < end_N[v] and entered < 0:
            w = neighbour_2E[stop_N[v]]
            stop_N[v] += 1
            if w != father_N[v]:
                if seen_N[w]:
                    return at, False
                entered = w
        if entered >= 0:
            seen_N[entered] = True
            father_N[entered] = v
            found += 1
            v = entered
        else:
            v = father_N[v]
    return at, found == len(seen_N)


@njit(cache=True, nogil=True)
def _ask_father(at: int, out_L: Ints, v: int) -> int:
    out_L[at] = STARTSEARCH
    out_L[at + 1] = NODE_0 + v
    out_L[at + 2] = FATHER
    out_L[at + 3] = ENDSEARCH
    return at + 4


@njit(cache=True, nogil=True)
def _ask_edge(at: int, out_L: Ints, v: int, after: int) -> int:
    """Ask for v's first edge (`after` is -1), or for the one that follows its edge with `after`."""
    out_L[at] = STARTSEARCH
    out_L[at + 1] = NODE_0 + v
    out_L[at + 2] = EDGE
    at += 3
    if after >= 0:
        out_L[at] = NODE_0 + after
        at += 1
    out_L[at] = ENDSEARCH
    return at + 1


@njit(cache=True, nogil=True)
def _write_searches(
    at: int, out_L: Ints, stop_N: Ints, end_N: Ints, neighbour_2E: Ints, father_N: Ints, seen_N: Bools
) -> tuple[int, bool]:
    """Write the same search with its memory in the text: every step asks the retriever."""
    seen_N[:] = False
    seen_N[0] = True
    father_N[0] = -1
    found = 1
    v, previous = 0, -1
    while v >= 0:
        father = father_N[v]
        out_L[at] = NODE_0 + v
        at = _ask_father(at + 1, out_L, v)
        out_L[at] = _node(father)
        at = _ask_edge(at + 1, out_L, v, previous)
        w = neighbour_2E[stop_N[v]] if stop_N[v] < end_N[v] else -1
        stop_N[v] += 1
        out_L[at] = _node(w)
        at += 1
        if w >= 0 and w == father:
            at = _ask_edge(at, out_L, v, w)
            w = neighbour_2E[stop_N[v]] if stop_N[v] < end_N[v] else -1
            stop_N[v] += 1
            out_L[at] = _node(w)
            at += 1
        if w < 0:
            v, previous = father, v
            continue
        at = _ask_father(at, out_L, w)
        if seen_N[w]:
            out_L[at] = _node(father_N[w])
            return at + 1, False
        out_L[at] = FAILED
        out_L[at + 1] = NODE_0 + w
        out_L[at + 2] = FATHER
        out_L[at + 3] = NODE_0 + v
        at += 4
        seen_N[w] = True
        father_N[w] = v
        found += 1
        v, previous = w, -1
    return at, found == len(seen_N)


@njit(cache=True, nogil=True)
def write_traces(
    edges_BxEx2: Ints,
    n: int,
    mode: int,
    tokens_BxL: Ints,
    loss_mask_BxL: Bools,
    length_B: Ints,
    is_tree_B: Bools,
) -> None:
    """Write every graph's trace in the view `mode` (a position in `MODES`) into its row.

    `is_tree_B` is read in direct mode, and written by the search in the others.  The mask is true on the
    target, except on the token after `[ENDSEARCH]`, which is a search result.
    """
    edges = edges_BxEx2.shape[1]
    node_work = np.empty((3, n), np.int32)
    neighbour_2E = np.empty(2 * edges, np.int32)
    seen_N = np.empty(n, np.bool_)
    stop_N, end_N, father_N = node_work[0], node_work[1], node_work[2]
    for b in range(len(edges_BxEx2)):
        out_L = tokens_BxL[b]
        prompt = _write_prompt(edges_BxEx2[b], out_L)
        at = prompt
        if mode != 0:
            _adjacency(edges_BxEx2[b], stop_N, end_N, neighbour_2E)
            if mode == _COT:
                at, is_tree_B[b] = _write_tour(at, out_L, stop_N, end_N, neighbour_2E, father_N, seen_N)
            else:
                at, is_tree_B[b] = _write_searches(at, out_L, stop_N, end_N, neighbour_2E, father_N, seen_N)
            out_L[at] = EOS
            at += 1
        out_L[at] = TRUE if is_tree_B[b] else FALSE
        length_B[b] = at + 1
        for t in range(prompt, at + 1):
            loss_mask_BxL[b, t] = out_L[t - 1] != ENDSEARCH
