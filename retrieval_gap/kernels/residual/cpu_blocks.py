"""Inner loops of the attention kernels: many rows of 16 numbers against one block of 16 vectors, held in registers.

LLVM does not keep the block there by itself: memory is named by number, so each store might change what was loaded.
Here the loads come before the loop and the stores after it.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from retrieval_gap.kernels.cpu import FLOAT, LANES, VECTOR
from retrieval_gap.kernels.cpu.emit import INT_64, emitted, load_floats, load_to_all, multiply_add, nth, store_floats


def _numbers_of_row(builder: Any, row: Any) -> list[Any]:
    """The 16 numbers of a row, each in every lane of a vector."""
    return [load_to_all(builder, builder.add(row, ir.Constant(INT_64, i * FLOAT))) for i in range(LANES)]


def _rows_times_block(builder: Any, args: Any, *, add: bool) -> None:
    target, target_stride, block, block_stride, rows, row_stride, count = args
    block = [load_floats(builder, nth(builder, block, block_stride, i)) for i in range(LANES)]
    with cgutils.for_range(builder, count) as loop:
        numbers = _numbers_of_row(builder, nth(builder, rows, row_stride, loop.index))
        to = nth(builder, target, target_stride, loop.index)
        # Even and odd terms apart: half as many additions wait for one another.
        even = (
            multiply_add(builder, block[0], numbers[0], load_floats(builder, to))
            if add
            else builder.fmul(block[0], numbers[0])
        )
        odd = builder.fmul(block[1], numbers[1])
        for i in range(2, LANES, 2):
            even = multiply_add(builder, block[i], numbers[i], even)
            odd = multiply_add(builder, block[i + 1], numbers[i + 1], odd)
        store_floats(builder, builder.fadd(even, odd), to)


@emitted(types.void(*[types.int64] * 7))
def rows_times_block(builder: Any, args: Any) -> Any:
    """(target, its stride, block, its stride, rows, their stride, count): target[j] = sum_i rows[j][i] block[i]."""
    _rows_times_block(builder, args, add=False)


@emitted(types.void(*[types.int64] * 7))
def add_rows_times_block(builder: Any, args: Any) -> Any:
    """The same, added to what target[j] is."""
    _rows_times_block(builder, args, add=True)


@emitted(types.void(*[types.int64] * 5))
def add_vectors_times_rows(builder: Any, args: Any) -> Any:
    """(block, vectors, rows, their stride, count): block[i] += sum_j vectors[j] rows[j][i]; block and vectors dense."""
    block, vectors, rows, row_stride, count = args
    addresses = [builder.add(block, ir.Constant(INT_64, i * VECTOR)) for i in range(LANES)]
    sums = [cgutils.alloca_once_value(builder, load_floats(builder, address)) for address in addresses]
    with cgutils.for_range(builder, count) as loop:
        vector = load_floats(builder, nth(builder, vectors, ir.Constant(INT_64, VECTOR), loop.index))
        numbers = _numbers_of_row(builder, nth(builder, rows, row_stride, loop.index))
        for total, number in zip(sums, numbers, strict=True):
            builder.store(multiply_add(builder, vector, number, builder.load(total)), total)
    for total, address in zip(sums, addresses, strict=True):
        store_floats(builder, builder.load(total), address)
