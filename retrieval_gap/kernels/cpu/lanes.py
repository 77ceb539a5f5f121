"""Sixteen float32 lanes as one value in numba code.

LLVM vectorises a plain numba loop only when it can prove that its arrays do not overlap, and it gives up at
the number of arrays a fused scan reads. Here a vector is a type of its own (`<16 x float>` in LLVM's terms):
one AVX-512 register, two AVX2 registers or four NEON registers, whichever the machine has, and nothing to
prove.

Memory is named by address (an int64), in bytes. No fast-math flag is used: a NaN that enters comes out.
"""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, models, register_model

LANES = 16
FLOAT = 4
VECTOR = LANES * FLOAT
ZERO, ONE = np.float32(0), np.float32(1)

_float = ir.FloatType()
_int = ir.IntType(32)
_long = ir.IntType(64)
_vector = ir.VectorType(_float, LANES)
_ints = ir.VectorType(_int, LANES)


# Kernels are called by kernels only: no wrapper for callers in Python, which takes as long to compile.
_OPTIONS: dict[str, Any] = {"error_model": "numpy", "no_cpython_wrapper": True, "no_cfunc_wrapper": True}


def compiled(function: Callable[..., Any]) -> Any:
    """Compile a function that other kernels call.

    `inspect.unwrap` drops the argument checks a test run may have put around it: numba compiles the function.
    """
    return numba.njit(**_OPTIONS)(inspect.unwrap(function))


def inline(function: Callable[..., Any]) -> Any:
    """Compile a small function and always inline it, so that its vectors stay in registers."""
    return numba.njit(forceinline=True, **_OPTIONS)(inspect.unwrap(function))


class LanesType(types.Type):
    """The numba type of a vector of 16 float32 lanes."""

    def __init__(self) -> None:
        super().__init__(name="Lanes16xFloat32")


lanes = LanesType()


@register_model(LanesType)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, dmm: Any, fe_type: Any) -> None:
        super().__init__(dmm, fe_type, _vector)


def _define_operator(python_operator: Any, instruction: str) -> None:
    @infer_global(python_operator)
    class _Rule(AbstractTemplate):
        def generic(self, args: Any, kws: Any) -> Any:
            return signature(lanes, lanes, lanes) if args == (lanes, lanes) else None

    @lower_builtin(python_operator, LanesType, LanesType)
    def _lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return getattr(builder, instruction)(*args)


_define_operator(operator.add, "fadd")
_define_operator(operator.sub, "fsub")
_define_operator(operator.mul, "fmul")
_define_operator(operator.truediv, "fdiv")


def _intrinsic(signature_of: Any) -> Callable[[Callable[[Any, Any], Any]], Any]:
    """Turn `emit(builder, args) -> value` into a function that numba code may call."""

    def make(emit: Callable[[Any, Any], Any]) -> Any:
        emit = inspect.unwrap(emit)

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            result = emit(builder, args)
            return context.get_dummy_value() if sig.return_type == types.void else result

        # numba reads the number of arguments off the Python signature.
        names = ", ".join(f"a{i}" for i in range(len(signature_of.args)))
        scope: dict[str, Any] = {"sig": signature_of, "codegen": codegen}
        exec(f"def {emit.__name__}(typingctx, {names}):\n    return sig, codegen\n", scope)
        return intrinsic(scope[emit.__name__])

    return make


def _at(builder: Any, address: Any, pointee: Any) -> Any:
    return builder.inttoptr(address, pointee.as_pointer())


def _shuffle(builder: Any, a: Any, b: Any, picks: list[int]) -> Any:
    return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(_int, len(picks)), picks))


def _splat(builder: Any, scalar: Any) -> Any:
    blank = ir.Constant(ir.VectorType(scalar.type, LANES), ir.Undefined)
    return _shuffle(builder, builder.insert_element(blank, scalar, ir.Constant(_int, 0)), blank, [0] * LANES)


@_intrinsic(lanes(types.float32))
def splat(builder: Any, args: Any) -> Any:
    """One number in every lane."""
    return _splat(builder, args[0])


@_intrinsic(lanes(types.int64))
def load(builder: Any, args: Any) -> Any:
    """The 16 floats at an address."""
    return builder.load(_at(builder, args[0], _vector), align=FLOAT)


@_intrinsic(types.void(types.int64, lanes))
def store(builder: Any, args: Any) -> Any:
    """Write 16 floats to an address."""
    return builder.store(args[1], _at(builder, args[0], _vector), align=FLOAT)


@_intrinsic(types.float32(types.int64))
def load_scalar(builder: Any, args: Any) -> Any:
    """The float at an address."""
    return builder.load(_at(builder, args[0], _float), align=FLOAT)


@_intrinsic(types.void(types.int64, types.float32))
def store_scalar(builder: Any, args: Any) -> Any:
    """Write one float to an address."""
    return builder.store(args[1], _at(builder, args[0], _float), align=FLOAT)


@_intrinsic(types.int64(types.int64))
def load_integer(builder: Any, args: Any) -> Any:
    """The int64 at an address."""
    return builder.load(_at(builder, args[0], _long), align=8)


@_intrinsic(types.int64(types.int64))
def take_ticket(builder: Any, args: Any) -> Any:
    """Add one to the int64 at an address and return what it was, atomically: no two callers get the same."""
    return builder.atomic_rmw("add", _at(builder, args[0], _long), ir.Constant(_long, 1), "monotonic")


@_intrinsic(types.void(types.int64))
def prefetch(builder: Any, args: Any) -> Any:
    """Ask for the cache line of an address that will be read soon. Any address will do, also none of ours."""
    byte_pointer = ir.IntType(8).as_pointer()
    function_type = ir.FunctionType(ir.VoidType(), [byte_pointer, _int, _int, _int])
    function = cgutils.get_or_insert_function(builder.module, function_type, "llvm.prefetch.p0")
    read, keep_everywhere, data = (ir.Constant(_int, i) for i in (0, 3, 1))
    return builder.call(function, [builder.inttoptr(args[0], byte_pointer), read, keep_everywhere, data])


def _fused(builder: Any, a: Any, b: Any, c: Any) -> Any:
    function_type = ir.FunctionType(_vector, [_vector] * 3)
    function = cgutils.get_or_insert_function(builder.module, function_type, f"llvm.fma.v{LANES}f32")
    return builder.call(function, [a, b, c])


@_intrinsic(lanes(lanes, lanes, lanes))
def fma(builder: Any, args: Any) -> Any:
    """a * b + c, rounded once."""
    return _fused(builder, *args)


@_intrinsic(lanes(lanes, lanes, lanes, lanes))
def where_less(builder: Any, args: Any) -> Any:
    """(a, b, then, otherwise): `then` where a < b, `otherwise` elsewhere, also where a or b is NaN."""
    return builder.select(builder.fcmp_ordered("<", args[0], args[1]), args[2], args[3])


@_intrinsic(lanes(lanes))
def absolute(builder: Any, args: Any) -> Any:
    """|a|, by clearing the sign bit."""
    cleared = builder.and_(builder.bitcast(args[0], _ints), _splat(builder, ir.Constant(_int, 0x7FFFFFFF)))
    return builder.bitcast(cleared, _vector)


@_intrinsic(lanes(lanes))
def low_bits_as_exponent(builder: Any, args: Any) -> Any:
    """2^(k - 127), where k is the integer in the low bits of each lane's representation."""
    shifted = builder.shl(builder.bitcast(args[0], _ints), _splat(builder, ir.Constant(_int, 23)))
    return builder.bitcast(shifted, _vector)


@_intrinsic(types.float32(lanes))
def total(builder: Any, args: Any) -> Any:
    """The sum of the lanes, always added in the same order."""
    return _across_lanes(builder, args[0], builder.fadd)


@_intrinsic(types.float32(lanes))
def largest_lane(builder: Any, args: Any) -> Any:
    """The largest lane; where one is NaN, a NaN or any other."""

    def larger(low: Any, high: Any) -> Any:
        return builder.select(builder.fcmp_ordered("<", low, high), high, low)

    return _across_lanes(builder, args[0], larger)


def _across_lanes(builder: Any, vector: Any, combine: Callable[[Any, Any], Any]) -> Any:
    """One number from 16 lanes: the lower and the upper half combined, again and again."""
    width = LANES
    while width > 1:
        width //= 2
        blank = ir.Constant(vector.type, ir.Undefined)
        low, high = (_shuffle(builder, vector, blank, list(range(i, i + width))) for i in (0, width))
        vector = combine(low, high)
    return builder.extract_element(vector, ir.Constant(_int, 0))


@_intrinsic(lanes(types.int64))
def sums_of_eight(builder: Any, args: Any) -> Any:
    """Lane i < 8 holds the sum of the i-th of eight vectors at an address, always added in the same order."""
    offsets = (ir.Constant(_long, i * VECTOR) for i in range(8))
    vectors = [builder.load(_at(builder, builder.add(args[0], o), _vector), align=FLOAT) for o in offsets]
    blank = ir.Constant(_vector, ir.Undefined)
    # Halving 16 lanes of each vector three times leaves two lanes of each, neighbours in the right order.
    vectors = [_fold_halves(builder, vectors[i], vectors[i + 1], 8) for i in range(0, 8, 2)]
    vectors = [_fold_halves(builder, vectors[i], vectors[i + 1], 4) for i in range(0, 4, 2)]
    vector = _fold_halves(builder, vectors[0], vectors[1], 2)
    even, odd = list(range(0, LANES, 2)), list(range(1, LANES, 2))
    halves = builder.fadd(_shuffle(builder, vector, blank, even), _shuffle(builder, vector, blank, odd))
    return _shuffle(builder, halves, ir.Constant(halves.type, ir.Undefined), [*range(8), *range(8)])


@_intrinsic(lanes(types.int64, types.int64, lanes))
def dots_of_sixteen(builder: Any, args: Any) -> Any:
    """(rows, stride, a): lane i holds the product of a with the i-th of 16 rows, always added in the same order."""
    rows, stride, a = args
    offsets = (builder.mul(stride, ir.Constant(_long, i)) for i in range(LANES))
    vectors = [builder.fmul(builder.load(_at(builder, builder.add(rows, o), _vector), align=FLOAT), a) for o in offsets]
    for width in (8, 4, 2, 1):
        vectors = [_fold_halves(builder, vectors[i], vectors[i + 1], width) for i in range(0, len(vectors), 2)]
    return vectors[0]


def _fold_halves(builder: Any, a: Any, b: Any, width: int) -> Any:
    """Each run of 2 * width lanes of a, then of b, folded to width lanes: the sum of its halves."""
    starts = range(0, 2 * LANES, 2 * width)
    low = [s + i for s in starts for i in range(width)]
    return builder.fadd(_shuffle(builder, a, b, low), _shuffle(builder, a, b, [i + width for i in low]))
