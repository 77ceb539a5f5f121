"""Pieces of LLVM code from which the intrinsics of CPU kernels are built.

A vector of 16 float32 lanes is a numba type of its own here (`<16 x float>` in LLVM's terms).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, register_model

from retrieval_gap.kernels.cpu import FLOAT, LANES

HAS_AVX512 = bool(binding.get_host_cpu_features().get("avx512f"))

FLOAT_32 = ir.FloatType()
INT_32 = ir.IntType(32)
INT_64 = ir.IntType(64)
FLOATS = ir.VectorType(FLOAT_32, LANES)
INTS = ir.VectorType(INT_32, LANES)


class LanesType(types.Type):
    """The numba type of a vector of 16 float32 lanes."""

    def __init__(self) -> None:
        super().__init__(name="Lanes16xFloat32")


lanes = LanesType()


@register_model(LanesType)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, dmm: Any, fe_type: Any) -> None:
        super().__init__(dmm, fe_type, FLOATS)


def emitted(signature_of: Any) -> Callable[[Callable[[Any, Any], Any]], Any]:
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


def pointer(builder: Any, address: Any, pointee: Any) -> Any:
    return builder.inttoptr(address, pointee.as_pointer())


def shuffle(builder: Any, a: Any, b: Any, picks: list[int]) -> Any:
    return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(INT_32, len(picks)), picks))


def in_every_lane(builder: Any, scalar: Any) -> Any:
    blank = ir.Constant(ir.VectorType(scalar.type, LANES), ir.Undefined)
    return shuffle(builder, builder.insert_element(blank, scalar, ir.Constant(INT_32, 0)), blank, [0] * LANES)


def call(builder: Any, name: str, arguments: list[Any], result: Any = FLOATS) -> Any:
    """Call one of LLVM's own functions."""
    function_type = ir.FunctionType(result, [argument.type for argument in arguments])
    return builder.call(cgutils.get_or_insert_function(builder.module, function_type, name), arguments)


def multiply_add(builder: Any, a: Any, b: Any, c: Any) -> Any:
    return call(builder, f"llvm.fma.v{LANES}f32", [a, b, c])


def nth(builder: Any, address: Any, stride: Any, n: Any) -> Any:
    """The address n strides further on; n is a Python int or an LLVM value."""
    return builder.add(address, builder.mul(stride, ir.Constant(INT_64, n) if isinstance(n, int) else n))


def load_floats(builder: Any, address: Any) -> Any:
    """The vector at an address."""
    return builder.load(pointer(builder, address, FLOATS), align=FLOAT)


def load_halves(builder: Any, low: Any, high: Any) -> Any:
    """The 8 floats at each of two addresses as one vector."""
    half = ir.VectorType(FLOAT_32, LANES // 2)
    low, high = (builder.load(pointer(builder, address, half), align=FLOAT) for address in (low, high))
    return shuffle(builder, low, high, list(range(LANES)))


def store_floats(builder: Any, vector: Any, address: Any) -> None:
    """Write a vector to an address."""
    builder.store(vector, pointer(builder, address, FLOATS), align=FLOAT)


def load_to_all(builder: Any, address: Any) -> Any:
    """The float at an address, in every lane."""
    return in_every_lane(builder, builder.load(pointer(builder, address, FLOAT_32), align=FLOAT))
