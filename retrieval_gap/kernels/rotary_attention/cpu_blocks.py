"""Inner loops of the attention kernels: many rows of 16 numbers against one block of 16 vectors, held in registers.

LLVM does not keep the block there by itself: memory is named by number, so each store might change what was loaded.
Here the loads come before the loop and the stores after it.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from retrieval_gap.kernels.cpu.lanes import FLOAT, LANES, VECTOR, _at, _fused, _intrinsic, _splat

_long, _float = ir.IntType(64), ir.FloatType()
_vector = ir.VectorType(_float, LANES)


def _nth(builder: Any, address: Any, stride: Any, n: Any) -> Any:
    return builder.add(address, builder.mul(stride, n))


def _load(builder: Any, address: Any) -> Any:
    return builder.load(_at(builder, address, _vector), align=FLOAT)


def _store(builder: Any, vector: Any, address: Any) -> None:
    builder.store(vector, _at(builder, address, _vector), align=FLOAT)


def _numbers_of_row(builder: Any, row: Any) -> list[Any]:
    """The 16 numbers of a row, each in every lane of a vector."""
    addresses = [_at(builder, builder.add(row, ir.Constant(_long, i * FLOAT)), _float) for i in range(LANES)]
    return [_splat(builder, builder.load(address, align=FLOAT)) for address in addresses]


def _rows_times_block(builder: Any, args: Any, *, add: bool) -> None:
    target, target_stride, block, block_stride, rows, row_stride, count = args
    block = [_load(builder, _nth(builder, block, block_stride, ir.Constant(_long, i))) for i in range(LANES)]
    with cgutils.for_range(builder, count) as loop:
        numbers = _numbers_of_row(builder, _nth(builder, rows, row_stride, loop.index))
        to = _nth(builder, target, target_stride, loop.index)
        # Even and odd terms apart: half as many additions wait for one another.
        even = _fused(builder, block[0], numbers[0], _load(builder, to)) if add else builder.fmul(block[0], numbers[0])
        odd = builder.fmul(block[1], numbers[1])
        for i in range(2, LANES, 2):
            even = _fused(builder, block[i], numbers[i], even)
            odd = _fused(builder, block[i + 1], numbers[i + 1], odd)
        _store(builder, builder.fadd(even, odd), to)


@_intrinsic(types.void(*[types.int64] * 7))
def rows_times_block(builder: Any, args: Any) -> Any:
    """(target, its stride, block, its stride, rows, their stride, count): target[j] = sum_i rows[j][i] block[i]."""
    _rows_times_block(builder, args, add=False)


@_intrinsic(types.void(*[types.int64] * 7))
def add_rows_times_block(builder: Any, args: Any) -> Any:
    """The same, added to what target[j] is."""
    _rows_times_block(builder, args, add=True)


@_intrinsic(types.void(*[types.int64] * 5))
def add_vectors_times_rows(builder: Any, args: Any) -> Any:
    """(block, vectors, rows, their stride, count): block[i] += sum_j vectors[j] rows[j][i]; block and vectors dense."""
    block, vectors, rows, row_stride, count = args
    addresses = [builder.add(block, ir.Constant(_long, i * VECTOR)) for i in range(LANES)]
    sums = [cgutils.alloca_once_value(builder, _load(builder, address)) for address in addresses]
    with cgutils.for_range(builder, count) as loop:
        vector = _load(builder, _nth(builder, vectors, ir.Constant(_long, VECTOR), loop.index))
        numbers = _numbers_of_row(builder, _nth(builder, rows, row_stride, loop.index))
        for total, number in zip(sums, numbers, strict=True):
            builder.store(_fused(builder, vector, number, builder.load(total)), total)
    for total, address in zip(sums, addresses, strict=True):
        _store(builder, builder.load(total), address)
