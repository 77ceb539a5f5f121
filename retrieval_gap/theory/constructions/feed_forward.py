"""Feed-forward layers with ReGLU, down((gate x) * relu(up x)), and the functions of whole numbers that they compute.

Axes: D directions of the stream, H hidden units.
Source: Shazeer's ReGLU (arXiv 2002.05202).  The functions below are exact for whole numbers.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from retrieval_gap.theory.constructions.precision import EXACT, Precision, weight
from retrieval_gap.theory.constructions.residual_stream import ONE, Affine, ResidualStream, affine, direction


@dataclass(frozen=True)
class Unit:
    """A hidden unit with its output weight: out * gate * relu(up)."""

    out: float
    gate: Affine
    up: Affine


@dataclass(frozen=True)
class Units:
    """A sum of hidden units, which a layer writes to one direction."""

    units: tuple[Unit, ...]

    def __add__(self, other: "Units") -> "Units":
        return Units(self.units + other.units)

    def __mul__(self, factor: float) -> "Units":
        return Units(tuple(Unit(factor * unit.out, unit.gate, unit.up) for unit in self.units))

    def __sub__(self, other: "Units") -> "Units":
        return self + other * -1.0

    __rmul__ = __mul__


def linear(form: Affine | float) -> Units:
    """The form itself."""
    return Units((Unit(1.0, affine(form), direction(ONE)),))


def relu(form: Affine) -> Units:
    """max(0, form)."""
    return Units((Unit(1.0, affine(1), form),))


def times(form: Affine | float, factor: Affine) -> Units:
    """form * factor, where factor is never negative (a flag, a position)."""
    return Units((Unit(1.0, affine(form), factor),))


def square(form: Affine) -> Units:
    """form ** 2, for either sign."""
    return Units((Unit(1.0, form, form), Unit(1.0, -form, -form)))


def is_zero(form: Affine) -> Units:
    """1 where a whole number is 0, else 0: a tent of three ReLUs."""
    return relu(form + 1) - 2.0 * relu(form) + relu(form - 1)


def at_least_one(form: Affine) -> Units:
    """1 where a whole number is 1 or more, else 0."""
    return relu(form) - relu(form - 1)


def chosen(flags: Iterable[Affine], forms: Iterable[Affine]) -> Units:
    """The form whose flag is 1; the other flags are 0."""
    return sum((times(form, flag) for flag, form in zip(flags, forms, strict=True)), Units(()))


class FeedForward(nn.Module):
    """x + down(gate x * relu(up x)), each operation rounded."""

    def __init__(self, stream: ResidualStream, writes: Mapping[str, Units], precision: Precision) -> None:
        super().__init__()
        self.precision = precision
        units = [unit for sums in writes.values() for unit in sums.units]
        gate_up_2HxD = stream.rows([*(unit.gate for unit in units), *(unit.up for unit in units)])
        first, rows = 0, []
        for name, sums in writes.items():
            stream.add(name)
            row_H = torch.zeros(len(units), dtype=EXACT)
            row_H[first : first + len(sums.units)] = torch.tensor([unit.out for unit in sums.units], dtype=EXACT)
            rows.append(row_H)
            first += len(sums.units)
        self.gate_up_2HxD = weight(gate_up_2HxD, precision)
        self.down_NxH = weight(torch.stack(rows), precision)  # N new directions; the others do not change

    def forward(self, x: Float[Tensor, "*b d"]) -> Float[Tensor, "*b e"]:
        """The stream, with the new directions appended."""
        rounded = self.precision.round
        gate, up = rounded(x @ self.gate_up_2HxD.T).chunk(2, -1)
        hidden = rounded(gate * up.relu())
        return torch.cat([x, rounded(hidden @ self.down_NxH.T)], -1)
