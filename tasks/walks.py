"""The compiled parts of `find_path`: graphs of two parts, walks through them, and searches in their facts.

Axes: B samples, L positions, N nodes (a chain and its dead ends, then the others), F facts, K dead ends of a chain,
S steps of a walk.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .api import BOS, CONTROL_TOKENS, ENDSEARCH, EOS, FAILED, FALSE, STARTSEARCH, TRUE
from .compiled import njit
from .randomness import Rng, below, hash_on, mix, split_of, start
from .recall import Ints, shuffle

# Tokens after the control tokens, in the order of the task's vocabulary: words of patterns, the arrow, then the nodes.
_WORD = len(CONTROL_TOKENS)
_FOLLOWS, _LEADS, _LATER, _ARROW, NODE_0 = (_WORD + k for k in range(1, 6))
FIRST, NEXT = 6, 10  # tokens of a search with its result: for a node's first child, for a later one
_NONE = -1  # no node


class Graphs(NamedTuple):
    """Problems.  A node is its chain's number times n/2 plus its own: 0 to d along the chain, then the dead ends.

    node_BxN: the name of each node.
    place_BxK: j for dead end k: node j leads to it (j < d), or it leads to node j - d + 1; the same on both chains.
    order_BxF: the facts in written order; fact f of a chain (f % (n/2 - 1)) is link f if f < d, else dead end f - d.
    asked_Bx3: the start's chain, the target's number on its chain, the target's chain.
    """

    node_BxN: Ints
    place_BxK: Ints
    order_BxF: Ints
    asked_Bx3: Ints


@njit(cache=True, nogil=True)
def _ends_of(fact: int, half: int, links: int, place_K: Ints) -> tuple[int, int]:
    """The two nodes of a fact; the first leads to the second."""
    chain, link = fact // (half - 1) * half, fact % (half - 1)
    if link < links:
        return chain + link, chain + link + 1
    place, dead_end = place_K[link - links], chain + link + 1
    if place < links:
        return chain + place, dead_end
    return dead_end, chain + place - links + 1


@njit(cache=True, nogil=True)
def _draw_first(rng: Rng, item_N: Ints, drawn_K: Ints) -> None:
    """Draw the first K of a uniform order of all items; `item_N` is left partly shuffled."""
    for k in range(len(drawn_K)):
        other = k + below(rng, len(item_N) - k)
        item_N[k], item_N[other] = item_N[other], item_N[k]
        drawn_K[k] = item_N[k]


@njit(cache=True, nogil=True)
def sample_problems(key: np.uint64, index_B: NDArray[np.int64], split: int, names: int, graphs: Graphs) -> None:
    """Draw graphs until the split owns them (the order of facts does not count), then that order and the question."""
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
    """Search depth-first until the target is found or nothing is left; return the number of steps.

    A step: the node whose child is sought; the child after which it is sought, or _NONE; the child found, or _NONE;
    the node that is now known to be on the path, or _NONE.
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
    """Write a search for a node's first child, or the next after `behind`, and its result; return the end."""
    tokens_L[at], tokens_L[at + 1], tokens_L[at + 2] = STARTSEARCH, _WORD, NODE_0 + node
    at += 3
    if behind != _NONE:
        tokens_L[at], tokens_L[at + 1], tokens_L[at + 2] = _LEADS, NODE_0 + behind, _LATER
        tokens_L[at + 3] = NODE_0 + node
        at += 4
    tokens_L[at], tokens_L[at + 1] = _FOLLOWS, ENDSEARCH
    tokens_L[at + 2] = FAILED if result == _NONE else NODE_0 + result
    return at + 3


@njit(cache=True, nogil=True)
def write_traces(
    graphs: Graphs, names: int, searches: int, thinks: bool, asks_path: bool, tokens_BxL: Ints, length_B: Ints
) -> None:
    """Write whole traces: facts, question, the part of the walk that a view shows, the answers."""
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
            tokens_L[at], tokens_L[at + 1], tokens_L[at + 2] = NODE_0 + one, _ARROW, NODE_0 + other
            child_Nx2[one, 0 if child_Nx2[one, 0] == _NONE else 1] = other
        chain, place, its_chain = graphs.asked_Bx3[b]
        first, target, at = node_N[chain * half], node_N[its_chain * half + place], 1 + 3 * facts
        tokens_L[at], tokens_L[at + 1], tokens_L[at + 2] = EOS, NODE_0 + first, NODE_0 + target
        at, answers = at + 3, 0
        for s in range(_walk(first, target, child_Nx2, step_Sx4)):
            node, behind, found, passed = step_Sx4[s]
            if s < searches:
                at = _write_search(tokens_L, at, node, behind, found)
            elif thinks and not asks_path and found != _NONE:
                tokens_L[at] = NODE_0 + found
                at += 1
            if asks_path and passed != _NONE:
                tokens_L[at] = NODE_0 + names + passed
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
def search_rows(tokens_BxL: Ints, length_B: Ints, names: int, result_B: Ints) -> None:
    """The result of the search that ends each row: its node's first child, or the first after the one named."""
    for b in range(len(tokens_BxL)):
        tokens_L, end, result_B[b] = tokens_BxL[b], length_B[b] - 1, FAILED
        begin = end - 1
        while begin >= 0 and tokens_L[begin] != STARTSEARCH:
            begin -= 1
        if begin < 0 or tokens_L[end] != ENDSEARCH or tokens_L[begin + 1] != _WORD or tokens_L[end - 1] != _FOLLOWS:
            continue
        node, behind = tokens_L[begin + 2], _NONE
        if end - begin == NEXT - 2:
            behind = tokens_L[begin + 4]
            if tokens_L[begin + 3] != _LEADS or tokens_L[begin + 5] != _LATER or tokens_L[begin + 6] != node:
                continue
        elif end - begin != FIRST - 2:
            continue
        if not NODE_0 <= node < NODE_0 + names or (behind != _NONE and not NODE_0 <= behind < NODE_0 + names):
            continue
        t, passed = 0, behind == _NONE
        while t < begin - 2:
            following = tokens_L[t + 2]
            if tokens_L[t] == node and tokens_L[t + 1] == _ARROW:
                if passed and NODE_0 <= following < NODE_0 + names:
                    result_B[b] = following
                    break
                if following == behind:
                    passed = True
                    t += 2
            t += 1
