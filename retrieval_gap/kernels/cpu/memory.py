"""Memory reads and writes for numba code, by address (an int64, in bytes)."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types

from retrieval_gap.kernels.cpu import FLOAT
from retrieval_gap.kernels.cpu.emit import FLOAT_32, FLOATS, INT_32, INT_64, call, emitted, lanes, load_halves, pointer


def _define_load(result: Any, pointee: Any, align: int = FLOAT) -> Any:
    def load(builder: Any, args: Any) -> Any:
        return builder.load(pointer(builder, args[0], pointee), align=align)

    return emitted(result(types.int64))(load)


def _define_store(written: Any, pointee: Any, align: int = FLOAT) -> Any:
    def store(builder: Any, args: Any) -> Any:
        return builder.store(args[1], pointer(builder, args[0], pointee), align=align)

    return emitted(types.void(types.int64, written))(store)


# load*(address) reads and store*(address, value) writes 16 floats, one float or one int64.
load, store = _define_load(lanes, FLOATS), _define_store(lanes, FLOATS)
load_scalar, store_scalar = _define_load(types.float32, FLOAT_32), _define_store(types.float32, FLOAT_32)
load_integer, store_integer = _define_load(types.int64, INT_64, 8), _define_store(types.int64, INT_64, 8)


@emitted(lanes(types.int64, types.int64))
def load_two(builder: Any, args: Any) -> Any:
    """The 8 floats at each of two addresses."""
    return load_halves(builder, *args)


@emitted(types.int64(types.int64))
def take_ticket(builder: Any, args: Any) -> Any:
    """Add one to the int64 at an address and return what it was, atomically: no two callers get the same."""
    return builder.atomic_rmw("add", pointer(builder, args[0], INT_64), ir.Constant(INT_64, 1), "monotonic")


@emitted(types.void(types.int64))
def prefetch(builder: Any, args: Any) -> Any:
    """Prefetch the cache line of an address that will be read soon. Any address is allowed, even an invalid one."""
    byte_pointer = ir.IntType(8).as_pointer()
    read, keep_everywhere, data = (ir.Constant(INT_32, i) for i in (0, 3, 1))
    given = [builder.inttoptr(args[0], byte_pointer), read, keep_everywhere, data]
    return call(builder, "llvm.prefetch.p0", given, ir.VoidType())
