"""exp, softplus, sigmoid and SiLU of 16 float32 lanes, by polynomials: no table, no branch, no library.

Accuracy is in units in the last place (ulp) of the result. NaN gives NaN everywhere. Results below the smallest
normal number are flushed to zero.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from llvmlite import ir

from retrieval_gap.kernels.cpu.emit import FLOAT_32, HAS_AVX512, emitted, in_every_lane, lanes, multiply_add
from retrieval_gap.kernels.cpu.lanes import (
    ONE,
    ZERO,
    above_floor,
    absolute,
    fma,
    inline,
    low_bits_as_exponent,
    reciprocal,
    splat,
    times_power_of_two,
    where_less,
)

LN_2 = np.float32(math.log(2))
LOG2_E = np.float32(1 / math.log(2))
# ln(2) in two float32: an integer times the first, subtracted in one fma, is exact enough for the second to matter.
_MINUS_LN_2 = np.float32(-math.log(2))
_MINUS_LN_2_REST = np.float32(float(LN_2) - math.log(2))
# Adding it leaves the rounded integer, plus 127 (the bias of float32's exponent), in the low bits of the mantissa.
_ROUND = np.float32(1.5 * 2**23 + 127)
_SMALLEST_EXPONENT = np.float32(-126)  # below it numbers are subnormal, and arithmetic is very slow
# The rounded sums that stand for 2^-126, the smallest normal number, and 2^128, infinity.
_SMALLEST, _LARGEST = np.float32(_ROUND - 126), np.float32(_ROUND + 128)


def _define_polynomial(*coefficients: float) -> Any:
    """x -> c0 + x (c1 + x (c2 + ...))."""

    def polynomial(builder: Any, args: Any) -> Any:
        value, *others = (in_every_lane(builder, ir.Constant(FLOAT_32, c)) for c in reversed(coefficients))
        for other in others:
            value = multiply_add(builder, args[0], value, other)
        return value

    return emitted(lanes(lanes))(polynomial)


# e^r for |r| <= ln(2)/2, 2^r for |r| <= 1/2 and for 0 <= r < 1: minimax in relative error, 1e-7, 1e-7 and 8e-8.
_exp_of_rest = _define_polynomial(1, 0.99999971, 0.49999149, 0.16667637, 0.04189798, 0.00829031)
_exp2_of_rest = _define_polynomial(1, 0.69314698, 0.24022242, 0.05550734, 0.00967151, 0.00132647)
_exp2_of_fraction = _define_polynomial(1, 0.6931513, 0.24016444, 0.05579991, 0.00901703, 0.00186713)
# log(1 + e) / e for 0 <= e <= 1, relative error 2e-8.
_log_ratio = _define_polynomial(
    *(1, -0.49999902, 0.33329962, -0.24954134, 0.19675939, -0.15305592, 0.10603654, -0.05695953, 0.01985146),
    -0.00324402,
)


@inline
def _exp2_by_scaling(a: Any, b: Any) -> Any:
    x = a * b
    power = times_power_of_two(_exp2_of_fraction(above_floor(x)), x)
    return where_less(x, splat(_SMALLEST_EXPONENT), splat(ZERO), power)


@inline
def _exp2_by_bits(a: Any, b: Any) -> Any:
    rounded = fma(a, b, splat(_ROUND))
    rounded = where_less(splat(_LARGEST), rounded, splat(_LARGEST), rounded)
    r = fma(a, b, splat(_ROUND) - rounded)
    return where_less(rounded, splat(_SMALLEST), splat(ZERO), _exp2_of_rest(r) * low_bits_as_exponent(rounded))


# 2^(a b) to 3 ulp, and |a b| / 2 ulp more where the product is rounded first; 0 below 2^-126, inf from 2^128.
# It is most of the selective scan's work: 10 instructions with AVX-512, 12 without.
exp2_of_product = _exp2_by_scaling if HAS_AVX512 else _exp2_by_bits


@inline
def exp(x: Any) -> Any:
    """e^x to 2 ulp. 0 below -87.7, inf from 88.4 on."""
    rounded = fma(x, splat(LOG2_E), splat(_ROUND))
    rounded = where_less(splat(_LARGEST), rounded, splat(_LARGEST), rounded)
    whole = rounded - splat(_ROUND)
    r = fma(whole, splat(_MINUS_LN_2_REST), fma(whole, splat(_MINUS_LN_2), x))
    return where_less(rounded, splat(_SMALLEST), splat(ZERO), _exp_of_rest(r) * low_bits_as_exponent(rounded))


@inline
def exp_of_minus_absolute(x: Any) -> Any:
    """e^-|x|, between 0 and 1: softplus and sigmoid use it."""
    return exp(splat(ZERO) - absolute(x))


@inline
def softplus_from(x: Any, e: Any) -> Any:
    """log(1 + e^x), given e = e^-|x|; precise even where the result is tiny."""
    return fma(e, _log_ratio(e), where_less(x, splat(ZERO), splat(ZERO), x))


@inline
def sigmoid_from(x: Any, e: Any) -> Any:
    """1 / (1 + e^-x), given e = e^-|x|."""
    return where_less(x, splat(ZERO), e, splat(ONE)) * reciprocal(splat(ONE) + e)


@inline
def softplus(x: Any) -> Any:
    """log(1 + e^x)."""
    return softplus_from(x, exp_of_minus_absolute(x))


@inline
def sigmoid(x: Any) -> Any:
    """1 / (1 + e^-x)."""
    return sigmoid_from(x, exp_of_minus_absolute(x))


@inline
def silu(x: Any) -> Any:
    """x / (1 + e^-x)."""
    return x * sigmoid(x)
