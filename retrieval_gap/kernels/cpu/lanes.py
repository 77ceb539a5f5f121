"""Sixteen float32 lanes as one value in numba code.

LLVM vectorises a plain numba loop only when it can prove that its arrays do not overlap, and it gives up at
the number of arrays a fused scan reads. Here a vector is a type of its own (`<16 x float>` in LLVM's terms):
one AVX-512 register, two AVX2 registers or four NEON registers, whichever the machine has, and nothing has to
be proved.

Memory is given by address (an int64), in bytes. No fast-math flag is used, so NaNs propagate.
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
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import lower_builtin

from retrieval_gap.kernels.cpu import LANES, VECTOR, emit
from retrieval_gap.kernels.cpu.emit import FLOAT_32, FLOATS, HAS_AVX512, INT_32, INT_64, INTS, LanesType, emitted, lanes

ZERO, ONE = np.float32(0), np.float32(1)
# Arguments that make AVX-512 instructions compute every lane, in the current rounding mode.
_ALL_LANES, _ROUNDING = (ir.Constant(FLOATS, ir.Undefined), ir.Constant(ir.IntType(16), -1)), ir.Constant(INT_32, 4)


# Only kernels call these functions: no wrapper for Python callers, which would take as long again to compile.
_OPTIONS: dict[str, Any] = {"error_model": "numpy", "no_cpython_wrapper": True, "no_cfunc_wrapper": True}


def compiled(function: Callable[..., Any]) -> Any:
    """Compile a function that other kernels call.

    `inspect.unwrap` removes the argument checks that a test run may add: numba compiles the bare function.
    """
    return numba.njit(**_OPTIONS)(inspect.unwrap(function))


def inline(function: Callable[..., Any]) -> Any:
    """Compile a small function and always inline it, so that its vectors stay in registers."""
    return numba.njit(forceinline=True, **_OPTIONS)(inspect.unwrap(function))


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


@emitted(lanes(types.float32))
def splat(builder: Any, args: Any) -> Any:
    """One number in every lane."""
    return emit.in_every_lane(builder, args[0])


@emitted(lanes())
def lane_numbers(builder: Any, args: Any) -> Any:
    """0, 1, ... 15."""
    return ir.Constant(FLOATS, [float(lane) for lane in range(LANES)])


@emitted(lanes(lanes, lanes, lanes))
def fma(builder: Any, args: Any) -> Any:
    """a * b + c, rounded once."""
    return emit.multiply_add(builder, *args)


@emitted(lanes(lanes))
def reciprocal(builder: Any, args: Any) -> Any:
    """1 / a to 1 ulp, for 1e-38 < |a| < 1e38: with AVX-512 a 14-bit estimate and one Newton step, in a quarter of a
    division's time."""
    a, one = args[0], emit.in_every_lane(builder, ir.Constant(FLOAT_32, 1.0))
    if not HAS_AVX512:
        return builder.fdiv(one, a)
    estimate = emit.call(builder, "llvm.x86.avx512.rcp14.ps.512", [a, *_ALL_LANES])
    return emit.multiply_add(builder, emit.multiply_add(builder, builder.fneg(a), estimate, one), estimate, estimate)


@emitted(lanes(lanes))
def above_floor(builder: Any, args: Any) -> Any:
    """a - floor(a); 0 for an infinite a. AVX-512 only."""
    down = ir.Constant(INT_32, 1)
    return emit.call(builder, "llvm.x86.avx512.mask.reduce.ps.512", [args[0], down, *_ALL_LANES, _ROUNDING])


@emitted(lanes(lanes, lanes))
def times_power_of_two(builder: Any, args: Any) -> Any:
    """a 2^floor(b). AVX-512 only."""
    return emit.call(builder, "llvm.x86.avx512.mask.scalef.ps.512", [*args, *_ALL_LANES, _ROUNDING])


@emitted(lanes(lanes, lanes, lanes, lanes))
def where_less(builder: Any, args: Any) -> Any:
    """(a, b, then, otherwise): `then` where a < b, `otherwise` elsewhere, also where a or b is NaN."""
    return builder.select(builder.fcmp_ordered("<", args[0], args[1]), args[2], args[3])


@emitted(lanes(lanes))
def absolute(builder: Any, args: Any) -> Any:
    """|a|, by clearing the sign bit."""
    cleared = builder.and_(builder.bitcast(args[0], INTS), emit.in_every_lane(builder, ir.Constant(INT_32, 0x7FFFFFFF)))
    return builder.bitcast(cleared, FLOATS)


@emitted(lanes(lanes))
def low_bits_as_exponent(builder: Any, args: Any) -> Any:
    """2^(k - 127), where k is the integer in the low bits of each lane's representation."""
    shifted = builder.shl(builder.bitcast(args[0], INTS), emit.in_every_lane(builder, ir.Constant(INT_32, 23)))
    return builder.bitcast(shifted, FLOATS)


@emitted(types.float32(lanes))
def total(builder: Any, args: Any) -> Any:
    """The sum of the lanes, always added in the same order."""
    return _across_lanes(builder, args[0], builder.fadd)


@emitted(types.float32(lanes))
def largest_lane(builder: Any, args: Any) -> Any:
    """The largest lane; if one is NaN, the result is NaN or any lane."""

    def larger(low: Any, high: Any) -> Any:
        return builder.select(builder.fcmp_ordered("<", low, high), high, low)

    return _across_lanes(builder, args[0], larger)


def _across_lanes(builder: Any, vector: Any, combine: Callable[[Any, Any], Any]) -> Any:
    """Reduce 16 lanes to one number by combining the lower and the upper half repeatedly."""
    width = LANES
    while width > 1:
        width //= 2
        blank = ir.Constant(vector.type, ir.Undefined)
        low, high = (emit.shuffle(builder, vector, blank, list(range(i, i + width))) for i in (0, width))
        vector = combine(low, high)
    return builder.extract_element(vector, ir.Constant(INT_32, 0))


@emitted(lanes(types.int64))
def sums_of_eight(builder: Any, args: Any) -> Any:
    """Lane i < 8 holds the sum of the i-th of eight vectors at an address, always added in the same order."""
    vectors = [emit.load_floats(builder, emit.nth(builder, args[0], ir.Constant(INT_64, VECTOR), i)) for i in range(8)]
    vector = _folded(builder, vectors, (8, 4, 2))  # two lanes of each, neighbours in the right order
    return _fold_halves(builder, vector, vector, 1)


@emitted(lanes(types.int64, types.int64, lanes))
def dots_of_sixteen(builder: Any, args: Any) -> Any:
    """(rows, stride, a): lane i holds the dot product of a with the i-th of 16 rows, always added in the same order."""
    rows, stride, a = args
    vectors = [builder.fmul(emit.load_floats(builder, emit.nth(builder, rows, stride, i)), a) for i in range(LANES)]
    return _folded(builder, vectors, (8, 4, 2, 1))


def _folded(builder: Any, vectors: list[Any], widths: tuple[int, ...]) -> Any:
    """Reduce 2^k vectors to one by folding pairs k times."""
    for width in widths:
        vectors = [_fold_halves(builder, a, b, width) for a, b in zip(vectors[::2], vectors[1::2], strict=True)]
    return vectors[0]


def _fold_halves(builder: Any, a: Any, b: Any, width: int) -> Any:
    """Fold each run of 2 * width lanes of a, then of b, to width lanes: the sum of its halves."""
    starts = range(0, 2 * LANES, 2 * width)
    low = [s + i for s in starts for i in range(width)]
    return builder.fadd(emit.shuffle(builder, a, b, low), emit.shuffle(builder, a, b, [i + width for i in low]))
