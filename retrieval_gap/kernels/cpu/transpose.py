"""Sixteen rows of eight floats to eight vectors of sixteen lanes, and back, by shuffles alone.

Rows are read in two halves: vector r holds row r in its low eight lanes and row r + 8 in its high ones. Three rounds
of swaps then exchange each bit of the vector's number with the same bit of the lane's number, in both halves at once.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types

from retrieval_gap.kernels.cpu import FLOAT, LANES, VECTOR
from retrieval_gap.kernels.cpu.emit import (
    FLOAT_32,
    FLOATS,
    INT_64,
    emitted,
    load_floats,
    pointer,
    shuffle,
    store_floats,
)

COLUMNS = 8
_HALF = ir.VectorType(FLOAT_32, COLUMNS)


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


def _row(builder: Any, rows: Any, stride: Any, r: int) -> Any:
    return pointer(builder, builder.add(rows, builder.mul(stride, ir.Constant(INT_64, r))), _HALF)


@emitted(types.void(types.int64, types.int64, types.int64))
def rows_to_lanes(builder: Any, args: Any) -> Any:
    """(target, rows, stride): eight floats of each of 16 rows become eight vectors at `target`."""
    target, rows, stride = args
    halves = [builder.load(_row(builder, rows, stride, r), align=FLOAT) for r in range(LANES)]
    whole = [shuffle(builder, halves[r], halves[r + 8], list(range(LANES))) for r in range(COLUMNS)]
    for c, vector in enumerate(_exchange(builder, whole)):
        address = builder.add(target, ir.Constant(INT_64, c * VECTOR))
        store_floats(builder, vector, address)


@emitted(types.void(types.int64, types.int64, types.int64))
def lanes_to_rows(builder: Any, args: Any) -> Any:
    """(rows, stride, source): the way back."""
    rows, stride, source = args
    offsets = [builder.add(source, ir.Constant(INT_64, c * VECTOR)) for c in range(COLUMNS)]
    vectors = [load_floats(builder, offset) for offset in offsets]
    blank = ir.Constant(FLOATS, ir.Undefined)
    for r, vector in enumerate(_exchange(builder, vectors)):
        for half in range(2):
            part = shuffle(builder, vector, blank, [half * COLUMNS + lane for lane in range(COLUMNS)])
            builder.store(part, _row(builder, rows, stride, r + half * COLUMNS), align=FLOAT)
