"""Draws the names of n nodes from more than n, so that a model can be tested on larger graphs later.

Axes: B samples, N nodes.
"""

import numpy as np
from numpy.typing import NDArray

from ..compiled import njit
from ..randomness import below, start
from .families import MAX_ATTEMPTS
from .traces import NODE_0

# Graphs are drawn from the streams of attempts 0 to MAX_ATTEMPTS; names from one of their own.
_ATTEMPT = MAX_ATTEMPTS + 1


@njit(cache=True, nogil=True)
def draw_names(key: np.uint64, index_B: NDArray[np.int64], names: int, name_BxN: NDArray[np.int32]) -> None:
    """Draw for each sample, in rising order: 0, where the search begins, and a uniform choice among 1..names-1."""
    nodes = name_BxN.shape[1]
    rng = np.empty(1, np.uint64)
    for b in range(len(index_B)):
        start(rng, key, index_B[b], _ATTEMPT)
        name_BxN[b, 0] = 0
        chosen = 1
        for name in range(1, names):
            if below(rng, names - name) < nodes - chosen:
                name_BxN[b, chosen] = name
                chosen += 1


@njit(cache=True, nogil=True)
def rename(tokens_BxL: NDArray[np.int32], name_BxN: NDArray[np.int32]) -> None:
    """In place: node v of a trace becomes the v-th name of its sample.  Names rise, so the larger node of an edge stays
    first and the order of everything is kept."""
    for b in range(len(tokens_BxL)):
        for t in range(tokens_BxL.shape[1]):
            token = tokens_BxL[b, t]
            if token >= NODE_0:
                tokens_BxL[b, t] = NODE_0 + name_BxN[b, token - NODE_0]
