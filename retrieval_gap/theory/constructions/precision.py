"""Numbers of p bits, to which every weight, activation and state element of a construction is rounded.

A number of p bits is a float with the layout of IEEE 754: a sign, EXPONENT_BITS of exponent, the rest significand with
a hidden leading 1; p = 16 is bfloat16 and p = 32 is float32.  The exponent's width is constant, so p = O(log n) if the
significand has O(log n) bits.

A dot product is summed exactly and rounded once, as is each elementwise function (log-precision in the sense of Merrill
and Sabharwal, "The Parallelism Tradeoff", TACL 2023, section 4).
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

EXPONENT_BITS = 8
EXACT = torch.float64  # the dtype of all computation; with `bits=None` its rounding is the only one
FEWEST_BITS = EXPONENT_BITS + 2
MOST_BITS = 48  # leaves float64 room to sum products
_SIGNIFICAND = 53
_LARGEST_EXPONENT = 2 ** (EXPONENT_BITS - 1)
_TO_INFINITY = 2.0 ** (1024 - _LARGEST_EXPONENT)
_BELOW_NORMAL = 2.0 ** (2 - _LARGEST_EXPONENT) * (1 - 2.0**-_SIGNIFICAND)  # the largest such float64


@dataclass(frozen=True)
class Precision:
    """The numbers of a construction: floats of `bits` bits, or float64 if None.

    Raises ValueError for bits outside FEWEST_BITS..MOST_BITS.
    """

    bits: int | None = None

    def __post_init__(self) -> None:
        if self.bits is not None and not FEWEST_BITS <= self.bits <= MOST_BITS:
            raise ValueError(f"precision of {self.bits} bits is outside {FEWEST_BITS}..{MOST_BITS}")

    @property
    def significand(self) -> int:
        """Bits of a significand, the hidden one included: whole numbers up to 2^significand are exact."""
        return _SIGNIFICAND if self.bits is None else self.bits - EXPONENT_BITS

    @property
    def number_bits(self) -> int:
        """Bits to store one number."""
        return 64 if self.bits is None else self.bits

    def round(self, x: Tensor) -> Tensor:
        """Each element (float64) rounded to the nearest number of this precision, ties to even.

        Numbers that are too large become infinite; those below the smallest normal number become zero.
        """
        if self.bits is None:
            return x
        # Veltkamp's splitting: the upper part of the significand of a float64.  In place, as new memory costs more.
        rounded = x * (2.0 ** (_SIGNIFICAND - self.significand) + 1)
        rounded.sub_(rounded - x)
        # Scaled beyond float64's range and back: numbers that are too large stay infinite.
        rounded.mul_(_TO_INFINITY).mul_(1 / _TO_INFINITY)
        return functional.hardshrink(rounded, _BELOW_NORMAL)


def weight(values: Tensor, precision: Precision) -> nn.Parameter:
    """Explicit weights, rounded; no optimiser changes them."""
    return nn.Parameter(precision.round(values.to(EXACT)), requires_grad=False)
