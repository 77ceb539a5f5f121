"""Fano's inequality, solved for the accuracy that b bits about a uniform symbol allow; always rounded up.

Source: Fano 1961; Cover and Thomas, "Elements of Information Theory", 2nd edition, theorem 2.10.1; docs/theory.md,
section 4.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

# Bits by which an inequality must hold to count: far above the rounding of the entropies (about 1e-15).
SLACK = 1e-12
HALVINGS = 60


def information(accuracy: ArrayLike, alphabet: int) -> NDArray[np.float64]:
    """Bits of information about a uniform symbol of q = `alphabet` values that accuracy p requires:
    log2 q - H2(p) - (1 - p) log2(q - 1), which grows with p from 0 at p = 1/q to log2 q at p = 1."""
    p = np.asarray(accuracy, np.float64)
    return np.log2(alphabet) + _p_log2_p(p) + _p_log2_p(1 - p) - (1 - p) * np.log2(alphabet - 1)


def fano_ceiling(bits: ArrayLike, alphabet: int) -> NDArray[np.float64]:
    """An upper bound on the mean accuracy on uniform symbols with this many known bits each, on average.

    Exactly 1/alphabet at no bits and 1 at log2(alphabet) or more; monotone in between.
    Raises ValueError for an alphabet of fewer than two values.
    """
    if alphabet < 2:
        raise ValueError(f"expected an alphabet of 2 or more values, got {alphabet}")
    known = np.asarray(bits, np.float64)
    low, high = np.full(known.shape, 1 / alphabet), np.ones(known.shape)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        enough = information(middle, alphabet) >= known + SLACK
        low, high = np.where(enough, low, middle), np.where(enough, middle, high)
    return np.where(known <= 0, 1 / alphabet, high)


def _p_log2_p(p: NDArray[np.float64]) -> NDArray[np.float64]:
    return p * np.log2(np.where(p > 0, p, 1.0))
