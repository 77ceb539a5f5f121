"""Named directions of a residual stream, and the forms over them that become weights.

A program reads and writes directions by name, as in `direction("token") - 3`; the compiler turns each form into a row
of a matrix.  The idea of naming directions is Tracr's (Lindner et al. 2023, arXiv 2301.05062, section 3).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from retrieval_gap.theory.constructions.precision import EXACT

ONE = "one"  # the direction that always holds 1


@dataclass(frozen=True)
class Affine:
    """A form: a sum of multiples of directions; a constant is a multiple of `one`."""

    coefficients: Mapping[str, float] = field(default_factory=dict)

    def __add__(self, other: "Affine | float") -> "Affine":
        total = dict(self.coefficients)
        for name, value in affine(other).coefficients.items():
            total[name] = total.get(name, 0.0) + value
        return Affine(total)

    def __mul__(self, factor: float) -> "Affine":
        return Affine({name: factor * value for name, value in self.coefficients.items()})

    def __neg__(self) -> "Affine":
        return self * -1.0

    def __sub__(self, other: "Affine | float") -> "Affine":
        return self + -affine(other)

    def __rsub__(self, other: float) -> "Affine":
        return affine(other) - self

    __radd__, __rmul__ = __add__, __mul__


def affine(form: "Affine | float") -> Affine:
    """A number as a multiple of `one`; a form unchanged."""
    return form if isinstance(form, Affine) else Affine({ONE: float(form)})


def direction(name: str) -> Affine:
    """The form that reads the direction with this name."""
    return Affine({name: 1.0})


@dataclass(frozen=True)
class Number:
    """A whole number in the stream with its square, which a look-up by attention needs (see attention.py)."""

    value: Affine
    square: Affine

    def __add__(self, shift: float) -> "Number":
        """The number plus a constant; the new square is a form over the old number and square."""
        return Number(self.value + shift, self.square + self.value * (2 * shift) + shift**2)

    def __sub__(self, shift: float) -> "Number":
        return self + -shift


def number(name: str) -> Number:
    """The number in a direction, with its square in `name^2`."""
    return Number(direction(name), direction(square_of(name)))


def constant(value: float) -> Number:
    """A constant number, held by the weights."""
    return Number(affine(value), affine(value**2))


def square_of(name: str) -> str:
    """The name of the direction that holds a number's square."""
    return f"{name}^2"


class ResidualStream:
    """The directions that a program has used so far, each a coordinate of the residual stream.

    Raises ValueError for a direction that is written twice, or read before it is written.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self.names: list[str] = []
        for name in names:
            self.add(name)

    def add(self, name: str) -> int:
        """Add a new direction; return its coordinate."""
        if name in self.names:
            raise ValueError(f"direction {name!r} is written twice")
        self.names.append(name)
        return len(self.names) - 1

    def rows(self, forms: Sequence[Affine]) -> Float[Tensor, "f d"]:
        """One row per form; its product with the stream is the form's value."""
        rows_FxD = torch.zeros(len(forms), len(self.names), dtype=EXACT)
        for row_D, form in zip(rows_FxD, forms, strict=True):
            for name, value in form.coefficients.items():
                if name not in self.names:
                    raise ValueError(f"direction {name!r} is read before it is written")
                row_D[self.names.index(name)] += value
        return rows_FxD
