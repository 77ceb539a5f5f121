"""Graph samplers: every family draws a fair label first, then a graph of n - 1 edges with that label.

Axes: B samples, E edges (n - 1), N nodes; an edge is a pair, larger node first (`edges_Ex2`).
Rooted trees are kept as `parent_N` (-1 at the root) with `order_N`, where children come before their parents.
"""

import numpy as np
from numpy.typing import NDArray

from ..compiled import njit
from ..randomness import Rng, below, draw, mix, split_of, start

Ints = NDArray[np.int32]
Bools = NDArray[np.bool_]

FAMILIES = ("two_star", "random_tree", "path_like")
_TWO_STAR, _RANDOM_TREE = 0, 1

# An attempt is one graph; the rarest wanted graphs (n = 4 and 5) occur about once in 50 attempts.
MAX_ATTEMPTS = 5000
# path_like: a node hangs on one of this many nodes before it.
_WINDOW = 3
_MAX_DEGREE = 3
# Chosen so that at n = 4, with its 4 non-trees and 16 trees, every split gets its exact share of both.
_SPLIT_SALT = np.uint64(2548)


@njit(cache=True, nogil=True)
def graph_hash(edges_Ex2: Ints, n: int) -> np.uint64:
    """Hash of the labelled edge set: the order of edges, and of an edge's ends, does not matter."""
    total = np.uint64(n)
    for e in range(len(edges_Ex2)):
        u, v = edges_Ex2[e, 0], edges_Ex2[e, 1]
        total += mix(np.uint64(max(u, v) * 4096 + min(u, v)) + _SPLIT_SALT)
    return mix(total)


@njit(cache=True, nogil=True)
def _put(edges_Ex2: Ints, e: int, u: int, v: int) -> None:
    edges_Ex2[e, 0] = max(u, v)
    edges_Ex2[e, 1] = min(u, v)


@njit(cache=True, nogil=True)
def _permutation(rng: Rng, node_N: Ints) -> None:
    """A uniform order of all nodes (Fisher-Yates, inside out)."""
    for k in range(len(node_N)):
        other = below(rng, k + 1)
        node_N[k] = node_N[other]
        node_N[other] = k


@njit(cache=True, nogil=True)
def _two_star(rng: Rng, is_tree: bool, node_N: Ints, edges_Ex2: Ints) -> None:
    """Two centres, every other node hangs on either; one more edge joins leaves `joined` and `joined + 1`.

    The family of the paper's experiments (section 4.2).  A tree iff the two leaves hang on different centres:
    a fair coin whatever the other leaves do, so drawing the label first leaves the family's law unchanged.
    """
    n = len(node_N)
    _permutation(rng, node_N)
    joined = 2 + below(rng, n - 3)
    coins = np.uint64(0)
    side, flip = 0, int(is_tree)
    for k in range(2, n):
        if (k - 2) % 64 == 0:
            coins = draw(rng)
        # The label decides the second of the joined leaves; a coin decides all others.
        side = side ^ flip if k == joined + 1 else int(np.int64(coins & np.uint64(1)))
        coins >>= np.uint64(1)
        _put(edges_Ex2, k - 2, node_N[side], node_N[k])
    _put(edges_Ex2, n - 2, node_N[joined], node_N[joined + 1])


@njit(cache=True, nogil=True)
def _uniform_tree(
    rng: Rng, code_N: Ints, unnamed_N: Ints, placed_N: Ints, parent_N: Ints, order_N: Ints, degree_N: Ints
) -> None:
    """A uniform labelled tree, in linear time, by the bijection of Foata and Fuchs (1970).

    A sequence of n - 1 nodes encodes a rooted tree.  The root comes first; the next entry is the child of the
    entry before it or, if it has occurred before, the child is the next node that never occurs in the
    sequence.  Every tree has n roots to choose from, so the tree is uniform.
    """
    n = len(parent_N)
    degree_N[:] = 0
    for k in range(n - 1):
        code_N[k] = below(rng, n)
        degree_N[code_N[k]] += 1
    # No branch on random data from here on: a mispredicted one costs as much as a draw.
    unnamed = 0
    for v in range(n):
        unnamed_N[unnamed] = v
        unnamed += int(degree_N[v] == 0)
    placed_N[:] = 0
    root = code_N[0]
    code_N[n - 1] = root  # occurred before: the last child is a node that never occurs
    placed_N[root] = 1
    parent_N[root] = -1
    order_N[n - 1] = root
    unnamed = 0
    for k in range(1, n):
        named = code_N[k]
        named_before = placed_N[named]
        child = named + named_before * (unnamed_N[unnamed] - named)
        unnamed += named_before
        placed_N[child] = 1
        parent_N[child] = code_N[k - 1]
        order_N[n - 1 - k] = child
    degree_N += 1
    degree_N[root] -= 1


@njit(cache=True, nogil=True)
def _deep_tree(rng: Rng, parent_N: Ints, order_N: Ints, degree_N: Ints) -> None:
    """Node k hangs on one of the `_WINDOW` nodes before it with room (`_MAX_DEGREE`); the root is node 0."""
    n = len(parent_N)
    degree_N[:] = 1
    degree_N[0] = 0
    parent_N[0] = -1
    order_N[n - 1] = 0
    for k in range(1, n):
        # Node k - 1 has at most one neighbour so far: there is always room.
        parent = k - 1 - below(rng, min(k, _WINDOW))
        while degree_N[parent] == _MAX_DEGREE:
            parent = k - 1 - below(rng, min(k, _WINDOW))
        parent_N[k] = parent
        degree_N[parent] += 1
        order_N[n - 1 - k] = k


@njit(cache=True, nogil=True)
def _preorder(parent_N: Ints, order_N: Ints, first_N: Ints, size_N: Ints, next_N: Ints) -> None:
    """Number nodes so that the subtree of v is exactly [first_N[v], first_N[v] + size_N[v])."""
    n = len(parent_N)
    size_N[:] = 1
    for k in range(n - 1):
        size_N[parent_N[order_N[k]]] += size_N[order_N[k]]
    first_N[order_N[n - 1]] = 0
    next_N[order_N[n - 1]] = 1
    for k in range(n - 2, -1, -1):
        v = order_N[k]
        parent = parent_N[v]
        first_N[v] = next_N[parent]
        next_N[v] = next_N[parent] + 1
        next_N[parent] += size_N[v]


@njit(cache=True, nogil=True)
def _find_move(rng: Rng, parent_N: Ints, degree_N: Ints, first_N: Ints, size_N: Ints) -> tuple[int, int, int]:
    """An edge (a, b) and a new end w for it, such that a-w in place of a-b keeps the multiset of degrees.

    Returns (child end of the old edge, a, w); the child is -1 where 16 n random tries find no such move.  w
    is on a's side of the cut, so a-w closes a cycle and b's side falls off: the same count of edges, and
    never a tree.  b loses the degree that w gains, and deg w = deg b - 1 >= 1: no degree reveals the label.
    At n = 4 the only non-tree is a triangle and a node without edges, so there any move that breaks the tree
    is accepted.
    """
    n = len(parent_N)
    for _ in range(16 * n):
        directed = below(rng, 2 * n)
        child, upwards = directed >> 1, directed & 1 == 1
        parent = parent_N[child]
        if parent < 0:
            continue
        a, b = (child, parent) if upwards else (parent, child)
        if n > 4 and degree_N[b] == 1:
            continue
        w = below(rng, n)
        if n > 4 and degree_N[w] != degree_N[b] - 1:
            continue
        under_child = first_N[child] <= first_N[w] < first_N[child] + size_N[child]
        if under_child == upwards and w != a and parent_N[w] != a and parent_N[a] != w:
            return child, a, w
    return -1, -1, -1


@njit(cache=True, nogil=True)
def _moved_tree(rng: Rng, is_tree: bool, deep: bool, work: Ints, edges_Ex2: Ints) -> bool:
    """A tree, or a tree with one edge moved; false if the drawn tree has no such move (a star, say)."""
    parent_N, order_N, degree_N, node_N = work[0], work[1], work[2], work[3]
    if deep:
        _deep_tree(rng, parent_N, order_N, degree_N)
    else:
        _uniform_tree(rng, work[4], work[5], work[6], parent_N, order_N, degree_N)
    child, a, w = -1, -1, -1
    if not is_tree:
        _preorder(parent_N, order_N, work[4], work[5], work[6])
        child, a, w = _find_move(rng, parent_N, degree_N, work[4], work[5])
        if child < 0:
            return False
    if deep:
        _permutation(rng, node_N)
    else:
        for v in range(len(node_N)):
            node_N[v] = v
    e = 0
    for v in range(len(parent_N)):
        if v == child:
            _put(edges_Ex2, e, node_N[a], node_N[w])
            e += 1
        elif parent_N[v] >= 0:
            _put(edges_Ex2, e, node_N[v], node_N[parent_N[v]])
            e += 1
    return True


@njit(cache=True, nogil=True)
def _shuffle_edges(rng: Rng, edges_Ex2: Ints) -> None:
    for e in range(len(edges_Ex2) - 1, 0, -1):
        other = below(rng, e + 1)
        for end in range(2):
            edges_Ex2[e, end], edges_Ex2[other, end] = edges_Ex2[other, end], edges_Ex2[e, end]


@njit(cache=True, nogil=True)
def draw_graph(rng: Rng, family: int, is_tree: bool, work: Ints, edges_Ex2: Ints) -> bool:
    """One graph of the family (a position in `FAMILIES`) and label; false if it has to be drawn again."""
    if family == _TWO_STAR:
        _two_star(rng, is_tree, work[0], edges_Ex2)
        return True
    return _moved_tree(rng, is_tree, family != _RANDOM_TREE, work, edges_Ex2)


@njit(cache=True, nogil=True)
def sample_graphs(
    key: np.uint64, index_B: NDArray[np.int64], family: int, split: int, edges_BxEx2: Ints, is_tree_B: Bools
) -> int:
    """Fill in edges and labels of the samples `index_B`; edges are in random order.

    The label is drawn first and kept; graphs are drawn until one belongs to the wanted split.  Returns -1, or
    the position in the batch of a sample for which `MAX_ATTEMPTS` graphs were not enough.
    """
    n = edges_BxEx2.shape[1] + 1
    rng = np.empty(1, np.uint64)
    work = np.empty((7, n), np.int32)
    for b in range(len(index_B)):
        start(rng, key, index_B[b], 0)
        is_tree_B[b] = draw(rng) >> np.uint64(63) == np.uint64(1)
        edges_Ex2 = edges_BxEx2[b]
        served = False
        for attempt in range(1, MAX_ATTEMPTS + 1):
            start(rng, key, index_B[b], attempt)
            if draw_graph(rng, family, is_tree_B[b], work, edges_Ex2) and split_of(graph_hash(edges_Ex2, n)) == split:
                served = True
                break
        if not served:
            return b
        _shuffle_edges(rng, edges_Ex2)
    return -1
