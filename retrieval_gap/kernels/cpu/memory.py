"""Reads and writes of numba code, by address (an int64, in bytes)."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from retrieval_gap.kernels.cpu import FLOAT
from retrieval_gap.kernels.cpu.emit import FLOAT_32, FLOATS, INT_32, INT_64, emitted, lanes, load_halves, pointer


@emitted(lanes(types.int64))
def load(builder: Any, args: Any) -> Any:
    """The 16 floats at an address."""
    return builder.load(pointer(builder, args[0], FLOATS), align=FLOAT)


@emitted(lanes(types.int64, types.int64))
def load_two(builder: Any, args: Any) -> Any:
    """The 8 floats at each of two addresses."""
    return load_halves(builder, *args)


@emitted(types.void(types.int64, lanes))
def store(builder: Any, args: Any) -> Any:
    """Write 16 floats to an address."""
    return builder.store(args[1], pointer(builder, args[0], FLOATS), align=FLOAT)


@emitted(types.float32(types.int64))
def load_scalar(builder: Any, args: Any) -> Any:
    """The float at an address."""
    return builder.load(pointer(builder, args[0], FLOAT_32), align=FLOAT)


@emitted(types.void(types.int64, types.float32))
def store_scalar(builder: Any, args: Any) -> Any:
    """Write one float to an address."""
    return builder.store(args[1], pointer(builder, args[0], FLOAT_32), align=FLOAT)


@emitted(types.int64(types.int64))
def load_integer(builder: Any, args: Any) -> Any:
    """The int64 at an address."""
    return builder.load(pointer(builder, args[0], INT_64), align=8)


@emitted(types.void(types.int64, types.int64))
def store_integer(builder: Any, args: Any) -> Any:
    """Write one int64 to an address."""
    return builder.store(args[1], pointer(builder, args[0], INT_64), align=8)


@emitted(types.int64(types.int64))
def take_ticket(builder: Any, args: Any) -> Any:
    """Add one to the int64 at an address and return what it was, atomically: no two callers get the same."""
    return builder.atomic_rmw("add", pointer(builder, args[0], INT_64), ir.Constant(INT_64, 1), "monotonic")


@emitted(types.void(types.int64))
def prefetch(builder: Any, args: Any) -> Any:
    """Ask for the cache line of an address that will be read soon. Any address will do, also none of ours."""
    byte_pointer = ir.IntType(8).as_pointer()
    function_type = ir.FunctionType(ir.VoidType(), [byte_pointer, INT_32, INT_32, INT_32])
    function = cgutils.get_or_insert_function(builder.module, function_type, "llvm.prefetch.p0")
    read, keep_everywhere, data = (ir.Constant(INT_32, i) for i in (0, 3, 1))
    return builder.call(function, [builder.inttoptr(args[0], byte_pointer), read, keep_everywhere, data])
