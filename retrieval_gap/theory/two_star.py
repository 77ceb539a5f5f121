"""IsTree on two-star graphs, read edge by edge: the best accuracy with b bits of state after every token.

The cut is before the edge that joins two leaves, wherever the order of edges puts it.  Both sides of the cut know the
names of all nodes and all edges except the sides of the leaves read so far; what remains is Index on bits.
docs/theory.md, section 6, has the proof.

Axes: B numbers of bits, T leaf edges read before the joining edge.
Source: the reduction of theorem 4.7 in "RNNs are not Transformers (Yet)"; the constants are ours.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from retrieval_gap.theory.entropy import fano_ceiling

SMALLEST_N = 4
ANSWERS_A_BIT = 2  # a bit of state, such as the side of one leaf, helps with at most this many answers
ROUNDING = 1e-12  # more than the rounding error of the sum over T


def two_star_ceiling(n: int, bits: ArrayLike) -> NDArray[np.float64]:
    """An upper bound on the accuracy for each of these (whole) numbers of bits after every token.

    One half at 0 bits; 1 from n - 3 bits on.  Raises ValueError for bits below zero, or fewer than 4 nodes.
    """
    if n < SMALLEST_N:
        raise ValueError(f"a two-star graph has {SMALLEST_N} nodes or more, not {n}")
    bits_B = np.asarray(bits, np.float64)
    if (bits_B < 0).any():
        raise ValueError(f"bits = {bits_B.min():g} is below zero")
    leaves, pairs = n - 2, n - 3
    read_T = np.arange(leaves + 1)
    open_T = pairs * (1 - (leaves - read_T) * (leaves - read_T - 1) / (leaves * (leaves - 1)))
    unknown_T = np.minimum(read_T, pairs)
    known_BxT = _bits_an_answer(bits_B[..., None], unknown_T, open_T)
    errors_BxT = open_T * (1 - fano_ceiling(known_BxT, 2))
    accuracy_B = 1 - errors_BxT.sum(-1) / (pairs * (n - 1))
    return np.where(bits_B == 0, 0.5, np.minimum(1.0, accuracy_B + ROUNDING))


def _bits_an_answer(bits_Bx1: NDArray[np.float64], unknown_T: NDArray[np.intp], open_T: NDArray[np.float64]) -> NDArray:
    """Mean bits that the state can hold about each answer that is open at the cut: the lesser of two bounds.

    Each bit of state helps with few answers; and all answers together determine the `unknown_T` sides.
    """
    shared = ANSWERS_A_BIT * bits_Bx1 / np.maximum(open_T, 1)
    spare = 1 - (unknown_T - bits_Bx1) / np.maximum(open_T, 1)
    return np.clip(np.minimum(shared, spare), 0, 1)
