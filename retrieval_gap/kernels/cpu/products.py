"""Matrix products of factors that lie in the second-level cache, for kernels that fuse what comes before and after.

A tile of the result, a few rows by a few vectors of columns, is held in registers while the terms of its sums go by:
for each term some vectors of the right factor, and one broadcast number for each row of the left one. The left factor
has any two strides, so its transpose costs nothing. A sum's terms are added one after another, whatever the tile.
"""

from __future__ import annotations

from typing import Any

from llvmlite import binding, ir
from numba import types
from numba.core import cgutils

from retrieval_gap.kernels.cpu.lanes import FLOAT, LANES, VECTOR, _at, _fused, _intrinsic, _splat, compiled

ROWS = 4
# Vectors of columns of a tile: with AVX-512 four rows of four are 16 registers of 32. Elsewhere a vector is several
# registers, of 16 or 32, and one is what fits.
PANEL = 4 if binding.get_host_cpu_features().get("avx512f") else 1

_long, _float = ir.IntType(64), ir.FloatType()
_vector = ir.VectorType(_float, LANES)


def _nth(builder: Any, address: Any, stride: Any, n: int) -> Any:
    return builder.add(address, builder.mul(stride, ir.Constant(_long, n)))


def _vectors_at(builder: Any, row: Any, count: int) -> list[Any]:
    return [_at(builder, builder.add(row, ir.Constant(_long, j * VECTOR)), _vector) for j in range(count)]


def _define_tile(rows: int, vectors: int) -> Any:
    """(add, c, its stride, a, its rows' stride, its terms' stride, b, its stride, terms): c = a b, or c += a b."""

    def tile(builder: Any, args: Any) -> None:
        add, c, c_row, a, a_row, a_term, b, b_row, terms = args
        places = [place for i in range(rows) for place in _vectors_at(builder, _nth(builder, c, c_row, i), vectors)]
        zero = _splat(builder, ir.Constant(_float, 0.0))
        sums = [cgutils.alloca_once_value(builder, zero) for _ in places]
        with builder.if_then(builder.icmp_signed("!=", add, ir.Constant(_long, 0))):
            for total, place in zip(sums, places, strict=True):
                builder.store(builder.load(place, align=FLOAT), total)
        with cgutils.for_range(builder, terms) as loop:
            left = builder.add(a, builder.mul(a_term, loop.index))
            right = _vectors_at(builder, builder.add(b, builder.mul(b_row, loop.index)), vectors)
            columns = [builder.load(place, align=FLOAT) for place in right]
            for i in range(rows):
                place = _at(builder, _nth(builder, left, a_row, i), _float)
                number = _splat(builder, builder.load(place, align=FLOAT))
                for total, column in zip(sums[i * vectors :], columns, strict=False):
                    builder.store(_fused(builder, number, column, builder.load(total)), total)
        for total, place in zip(sums, places, strict=True):
            builder.store(builder.load(total), place, align=FLOAT)

    return _intrinsic(types.void(*[types.int64] * 9))(tile)


_tall_wide, _tall_narrow = _define_tile(ROWS, PANEL), _define_tile(ROWS, 1)
_flat_wide, _flat_narrow = _define_tile(1, PANEL), _define_tile(1, 1)


@compiled
def _wide(add: int, c: int, c_row: int, a: int, a_row: int, a_term: int, b: int, b_row: int, m: int, k: int) -> None:
    """PANEL vectors of columns, all m rows."""
    whole = m - m % ROWS
    for i in range(0, whole, ROWS):
        _tall_wide(add, c + i * c_row, c_row, a + i * a_row, a_row, a_term, b, b_row, k)
    for i in range(whole, m):
        _flat_wide(add, c + i * c_row, c_row, a + i * a_row, a_row, a_term, b, b_row, k)


@compiled
def _narrow(add: int, c: int, c_row: int, a: int, a_row: int, a_term: int, b: int, b_row: int, m: int, k: int) -> None:
    """One vector of columns, all m rows."""
    whole = m - m % ROWS
    for i in range(0, whole, ROWS):
        _tall_narrow(add, c + i * c_row, c_row, a + i * a_row, a_row, a_term, b, b_row, k)
    for i in range(whole, m):
        _flat_narrow(add, c + i * c_row, c_row, a + i * a_row, a_row, a_term, b, b_row, k)


@compiled
def product(
    add: int, c: int, c_row: int, a: int, a_row: int, a_term: int, b: int, b_row: int, m: int, k: int, n: int
) -> None:
    """c = a b, or c += a b where `add` is 1: c is m x n, a is m x k and b is k x n, n a multiple of 16.

    *_row: bytes from one row to the next.  a_term: bytes from one number of a row of a to the next.
    """
    whole = n - n % (PANEL * LANES)
    for j in range(0, whole, PANEL * LANES):
        _wide(add, c + j * FLOAT, c_row, a, a_row, a_term, b + j * FLOAT, b_row, m, k)
    for j in range(whole, n, LANES):
        _narrow(add, c + j * FLOAT, c_row, a, a_row, a_term, b + j * FLOAT, b_row, m, k)
