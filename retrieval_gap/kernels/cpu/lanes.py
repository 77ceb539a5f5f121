"""Sixteen float32 lanes as one value in numba code, and the elementary functions the kernels need.

LLVM vectorises a plain numba loop only when it can prove that its arrays do not overlap, and it gives up at the
number of arrays a fused scan reads. Here a vector is a type of its own (`<16 x float>` in LLVM's terms): one
AVX-512 register, two AVX2 registers or four NEON registers, whichever the machine has, and nothing to prove.

Memory is named by address (an int64), in bytes. No fast-math flag is used: a NaN that enters comes out.
"""

from __future__ import annotations

import inspect
import math
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
LANE_BYTES = 4
VECTOR_BYTES = LANES * LANE_BYTES

_float = ir.FloatType()
_int = ir.IntType(32)
_vector = ir.VectorType(_float, LANES)
_ints = ir.VectorType(_int, LANES)


def inline(function: Callable[..., Any]) -> Any:
    """Compile a small function and always inline it, so that its vectors stay in registers.

    `inspect.unwrap` drops the argument checks a test run may have wrapped around it: numba compiles Python, not checks.
    """
    return numba.njit(forceinline=True, error_model="numpy")(inspect.unwrap(function))


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


for _operator, _instruction in (
    (operator.add, "fadd"),
    (operator.sub, "fsub"),
    (operator.mul, "fmul"),
    (operator.truediv, "fdiv"),
):
    _define_operator(_operator, _instruction)


def _intrinsic(signature_of: Any) -> Callable[[Callable[[Any, list[Any]], Any]], Any]:
    """Turn `emit(builder, args) -> value` into a function that numba code may call."""

    def make(emit: Callable[[Any, list[Any]], Any]) -> Any:
        emit = inspect.unwrap(emit)

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            result = emit(builder, args)
            return context.get_dummy_value() if sig.return_type == types.void else result

        # numba reads the number of arguments off the Python signature.
        names = ", ".join(f"a{i}" for i in range(len(signature_of.args)))
        scope = {"sig": signature_of, "codegen": codegen}
        exec(f"def {emit.__name__}(typingctx, {names}):\n    return sig, codegen\n", scope)
        return intrinsic(scope[emit.__name__])

    return make


def _address(builder: Any, address: Any, pointee: Any) -> Any:
    return builder.inttoptr(address, pointee.as_pointer())


def _splat(builder: Any, scalar: Any) -> Any:
    kind = ir.VectorType(scalar.type, LANES)
    first = builder.insert_element(ir.Constant(kind, ir.Undefined), scalar, ir.Constant(_int, 0))
    zeros = ir.Constant(ir.VectorType(_int, LANES), [0] * LANES)
    return builder.shuffle_vector(first, ir.Constant(kind, ir.Undefined), zeros)


@_intrinsic(lanes(types.float32))
def splat(builder: Any, args: Any) -> Any:
    """One number in every lane."""
    return _splat(builder, args[0])


@_intrinsic(lanes(types.int64))
def load(builder: Any, args: Any) -> Any:
    """The 16 floats at an address."""
    return builder.load(_address(builder, args[0], _vector), align=LANE_BYTES)


@_intrinsic(types.void(types.int64, lanes))
def store(builder: Any, args: Any) -> Any:
    """Write 16 floats to an address."""
    return builder.store(args[1], _address(builder, args[0], _vector), align=LANE_BYTES)


@_intrinsic(types.float32(types.int64))
def load_scalar(builder: Any, args: Any) -> Any:
    """The float at an address."""
    return builder.load(_address(builder, args[0], _float), align=LANE_BYTES)


@_intrinsic(types.void(types.int64, types.float32))
def store_scalar(builder: Any, args: Any) -> Any:
    """Write one float to an address."""
    return builder.store(args[1], _address(builder, args[0], _float), align=LANE_BYTES)


@_intrinsic(types.int64(types.int64))
def load_integer(builder: Any, args: Any) -> Any:
    """The int64 at an address."""
    return builder.load(_address(builder, args[0], ir.IntType(64)), align=8)


@_intrinsic(types.int64(types.int64))
def take_ticket(builder: Any, args: Any) -> Any:
    """Atomically add one to the int64 at an address and return what it was: every caller gets another number."""
    counter = _address(builder, args[0], ir.IntType(64))
    return builder.atomic_rmw("add", counter, ir.Constant(ir.IntType(64), 1), "monotonic")


@_intrinsic(lanes(lanes, types.int64, types.float32))
def with_lane(builder: Any, args: Any) -> Any:
    """The vector with one lane replaced."""
    return builder.insert_element(args[0], args[2], builder.trunc(args[1], _int))


@_intrinsic(types.float32(lanes, types.int64))
def lane(builder: Any, args: Any) -> Any:
    """One lane of a vector."""
    return builder.extract_element(args[0], builder.trunc(args[1], _int))


@_intrinsic(lanes(lanes, lanes, lanes))
def fma(builder: Any, args: Any) -> Any:
    """a * b + c, rounded once."""
    function = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(_vector, [_vector] * 3), f"llvm.fma.v{LANES}f32"
    )
    return builder.call(function, args)


@_intrinsic(lanes(lanes, lanes, lanes, lanes))
def where_less(builder: Any, args: Any) -> Any:
    """`then` in the lanes where a < b, `otherwise` elsewhere (also where a or b is NaN). Arguments: a, b, then, otherwise."""
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
    """The sum of the lanes, added as a balanced tree (always the same one)."""
    value, width = args[0], LANES
    while width > 1:
        width //= 2
        halves = [
            ir.Constant(ir.VectorType(_int, width), [i + k * width for i in range(width)]) for k in (0, 1)
        ]
        blank = ir.Constant(value.type, ir.Undefined)
        value = builder.fadd(*(builder.shuffle_vector(value, blank, half) for half in halves))
    return builder.extract_element(value, ir.Constant(_int, 0))


ZERO, ONE, TWO = np.float32(0), np.float32(1), np.float32(2)
_LOG2_E = np.float32(1 / math.log(2))
_MINUS_LN_2 = np.float32(-math.log(2))
# Adding it leaves the rounded integer plus 127 (the bias of float32's exponent) in the low bits of the mantissa.
_ROUND_AND_BIAS = np.float32(1.5 * 2**23 + 127)
# Below the first, exp is no normal float32 any more and is flushed to 0; above the second, it is inf.
_EXP_SMALLEST, _EXP_LARGEST = np.float32(-87.33654), np.float32(88.8)
# exp(r) = 1 + r (c1 + r (c2 + ...)) for |r| <= ln(2)/2, minimax in relative error (9.5e-8).
_C1, _C2, _C3, _C4, _C5 = (
    np.float32(c) for c in (0.99999971, 0.49999149, 0.16667637, 0.04189798, 0.00829031)
)


@inline
def exp(x: Any) -> Any:
    """e^x; 0 below -87.34, inf above 88.4, NaN for NaN.

    Within 2 units in the last place for |x| <= 16 and within 6 anywhere: ln(2) is one float32 here, and its second
    half would cost every call an instruction. (Rounding the argument to float32 already costs |x|/2 units.)
    """
    x = where_less(splat(_EXP_LARGEST), x, splat(_EXP_LARGEST), x)
    biased = fma(x, splat(_LOG2_E), splat(_ROUND_AND_BIAS))
    r = fma(biased - splat(_ROUND_AND_BIAS), splat(_MINUS_LN_2), x)
    p = fma(r, splat(_C5), splat(_C4))
    p = fma(r, p, splat(_C3))
    p = fma(r, p, splat(_C2))
    p = fma(r, p, splat(_C1))
    p = fma(r, p, splat(ONE))
    return where_less(x, splat(_EXP_SMALLEST), splat(ZERO), p * low_bits_as_exponent(biased))


# log(1 + e) = 2 atanh(s) with s = e / (2 + e): atanh's series in s^2 <= 1/9 reaches float32 precision in eight terms.
_T3, _T5, _T7, _T9, _T11, _T13, _T15 = (np.float32(1 / k) for k in (3, 5, 7, 9, 11, 13, 15))


@inline
def log1p_of_unit(e: Any) -> Any:
    """log(1 + e) for 0 <= e <= 1, precise also where e is tiny."""
    s = e / (e + splat(TWO))
    q = s * s
    p = fma(q, splat(_T15), splat(_T13))
    p = fma(q, p, splat(_T11))
    p = fma(q, p, splat(_T9))
    p = fma(q, p, splat(_T7))
    p = fma(q, p, splat(_T5))
    p = fma(q, p, splat(_T3))
    p = fma(q, p, splat(ONE))
    return splat(TWO) * s * p


@inline
def softplus(x: Any) -> Any:
    """log(1 + e^x)."""
    positive = where_less(x, splat(ZERO), splat(ZERO), x)
    return positive + log1p_of_unit(exp(splat(ZERO) - absolute(x)))


@inline
def sigmoid(x: Any) -> Any:
    """1 / (1 + e^-x)."""
    e = exp(splat(ZERO) - absolute(x))
    return where_less(x, splat(ZERO), e, splat(ONE)) / (splat(ONE) + e)


@inline
def load_first(address: int, count: int) -> Any:
    """The first `count` of 16 floats at an address, then zeros: nothing past `count` is read."""
    if count >= LANES:
        return load(address)
    result = splat(ZERO)
    for i in range(count):
        result = with_lane(result, i, load_scalar(address + i * LANE_BYTES))
    return result


@inline
def store_first(address: int, value: Any, count: int) -> None:
    """Write the first `count` lanes to an address: nothing past `count` is touched."""
    if count >= LANES:
        store(address, value)
    else:
        for i in range(count):
            store_scalar(address + i * LANE_BYTES, lane(value, i))
