"""Sixteen rows of eight floats to eight vectors of sixteen lanes, by shuffles alone.

Rows are read in two halves: vector r holds row r in its low eight lanes and row r + 8 in its high ones. Three rounds
of swaps then exchange each bit of the vector's number with the same bit of the lane's number, in both halves at once.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types

from retrieval_gap.kernels.cpu import FLOAT, LANES, VECTOR
from retrieval_gap.kernels.cpu.emit import INT_64, emitted, load_halves, nth, shuffle, store_floats
from retrieval_gap.kernels.cpu.lanes import compiled

COLUMNS = LANES // 2


def _exchange(builder: Any, vectors: list[Any]) -> list[Any]:
    for bit in (1, 2, 4):
        after = list(vectors)
        for r in (r for r in range(COLUMNS) if not r & bit):
            low, high = vectors[r], vectors[r + bit]
            to_low = [LANES + lane - bit if lane & bit else lane for lane in range(LANES)]
            to_high = [LANES + lane if lane & bit else lane + bit for lane in range(LANES)]
            after[r], after[r + bit] = shuffle(builder, low, high, to_low), shuffle(builder, low, high, to_high)
        vectors = after
    return vectors


@emitted(types.void(types.int64, types.int64, types.int64))
def _eight_columns(builder: Any, args: Any) -> None:
    """(target, rows, stride): eight floats of each of 16 rows become eight vectors at `target`."""
    target, rows, stride = args
    places = [nth(builder, rows, stride, r) for r in range(LANES)]
    vectors = [load_halves(builder, *pair) for pair in zip(places[:COLUMNS], places[COLUMNS:], strict=True)]
    for c, vector in enumerate(_exchange(builder, vectors)):
        store_floats(builder, vector, builder.add(target, ir.Constant(INT_64, c * VECTOR)))


@compiled
def to_lanes(target: int, rows: int, stride: int, width: int) -> None:
    """Sixteen rows of `width` numbers, a multiple of 8, become as many vectors: their first numbers, and so on."""
    for c in range(0, width, COLUMNS):
        _eight_columns(target + c * VECTOR, rows + c * FLOAT, stride)
