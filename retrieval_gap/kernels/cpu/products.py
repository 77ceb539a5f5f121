"""Matrix products of factors in the second-level cache, for kernels that fuse them with the steps before and after.

A tile of the result, a few rows by a few vectors of columns, stays in registers during the loop over the terms of its
sums. Each term reads some vectors of the right factor, and broadcasts one number per row of the left factor. The left
factor may have any two strides, so its transpose costs nothing. A sum's terms are added one by one, whatever the tile.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from retrieval_gap.kernels.cpu import FLOAT, LANES, VECTOR, emit
from retrieval_gap.kernels.cpu.emit import FLOAT_32, HAS_AVX512, INT_64, emitted
from retrieval_gap.kernels.cpu.lanes import compiled

# Vectors of columns per tile: with AVX-512, four rows of four take 16 of 32 registers. Elsewhere a vector takes
# several of 16 or 32 registers, and only one fits.
PANEL = 4 if HAS_AVX512 else 1


def _define_tile(rows: int, vectors: int) -> Any:
    """(add, c, its stride, a, its rows' stride, its terms' stride, b, its stride, terms): c = a b, or c += a b."""

    def tile(builder: Any, args: Any) -> None:
        add, c, c_row, a, a_row, a_term, b, b_row, terms = args
        width = ir.Constant(INT_64, VECTOR)
        c_rows = [emit.nth(builder, c, c_row, i) for i in range(rows)]
        places = [emit.nth(builder, row, width, j) for row in c_rows for j in range(vectors)]
        zero = emit.in_every_lane(builder, ir.Constant(FLOAT_32, 0.0))
        sums = [cgutils.alloca_once_value(builder, zero) for _ in places]
        with builder.if_then(builder.icmp_signed("!=", add, ir.Constant(INT_64, 0))):
            for total, place in zip(sums, places, strict=True):
                builder.store(emit.load_floats(builder, place), total)
        with cgutils.for_range(builder, terms) as loop:
            left, right = emit.nth(builder, a, a_term, loop.index), emit.nth(builder, b, b_row, loop.index)
            columns = [emit.load_floats(builder, emit.nth(builder, right, width, j)) for j in range(vectors)]
            for i in range(rows):
                number = emit.load_to_all(builder, emit.nth(builder, left, a_row, i))
                for total, column in zip(sums[i * vectors :], columns, strict=False):
                    builder.store(emit.multiply_add(builder, number, column, builder.load(total)), total)
        for total, place in zip(sums, places, strict=True):
            emit.store_floats(builder, builder.load(total), place)

    return emitted(types.void(*[types.int64] * 9))(tile)


@cache  # if PANEL is 1, some of those below are the same
def _define_columns(vectors: int, rows: int, few: int) -> Any:
    """(add, c, its stride, a, its rows' stride, its terms' stride, b, its stride, m, k), for n = 16 * vectors."""
    tall, low, flat = (_define_tile(height, vectors) for height in (rows, few, 1))

    def columns(
        add: int, c: int, c_row: int, a: int, a_row: int, a_term: int, b: int, b_row: int, m: int, k: int
    ) -> None:
        whole = m - m % rows
        for i in range(0, whole, rows):
            tall(add, c + i * c_row, c_row, a + i * a_row, a_row, a_term, b, b_row, k)
        most = m - (m - whole) % few
        for i in range(whole, most, few):
            low(add, c + i * c_row, c_row, a + i * a_row, a_row, a_term, b, b_row, k)
        for i in range(most, m):
            flat(add, c + i * c_row, c_row, a + i * a_row, a_row, a_term, b, b_row, k)

    # numba's symbols consist of this name and a number counted per process: with equal names, two kernels cached by two
    # processes could share a symbol, and the first one loaded would serve both.
    columns.__name__ = columns.__qualname__ = f"columns_{vectors}_by_{rows}"
    return compiled(columns)


# Rows left over by the tallest tiles go through lower ones: a lone sum waits for each of its additions.
_one = _define_columns(1, 16 if HAS_AVX512 else 8, 4)
_two, _three, _panel = (_define_columns(min(n, PANEL), rows, 1) for n, rows in ((2, 6), (3, 4), (4, 4)))


@compiled
def product(
    add: int, c: int, c_row: int, a: int, a_row: int, a_term: int, b: int, b_row: int, m: int, k: int, n: int
) -> None:
    """c = a b, or c += a b where `add` is 1: c is m x n, a is m x k and b is k x n, n a multiple of 16.

    *_row: bytes from one row to the next.  a_term: bytes from one number of a row of a to the next.
    """
    whole = n - n % (PANEL * LANES)
    for j in range(0, whole, PANEL * LANES):
        _panel(add, c + j * FLOAT, c_row, a, a_row, a_term, b + j * FLOAT, b_row, m, k)
    left, c_left, b_left = (n - whole) // LANES, c + whole * FLOAT, b + whole * FLOAT
    if left == 1:
        _one(add, c_left, c_row, a, a_row, a_term, b_left, b_row, m, k)
    elif left == 2:
        _two(add, c_left, c_row, a, a_row, a_term, b_left, b_row, m, k)
    elif left == 3:
        _three(add, c_left, c_row, a, a_row, a_term, b_left, b_row, m, k)
