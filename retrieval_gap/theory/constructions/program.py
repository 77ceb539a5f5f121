"""A program: layers that read and write named directions.  construction.py makes a model of it.

The stream begins with three directions, computed and not stored: `one`, the number of the token (`[BOS]` is 0) and its
position.  Each layer writes new directions; those that are not written yet hold 0 and are left out of the tensors.
What is to be said next is the number in the direction `answer`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import nn

from retrieval_gap.theory.constructions.attention import POSITION, Lookup, LookupAttention
from retrieval_gap.theory.constructions.feed_forward import FeedForward, Units, square
from retrieval_gap.theory.constructions.pointwise import FunctionName, Pointwise
from retrieval_gap.theory.constructions.precision import Precision
from retrieval_gap.theory.constructions.recurrence import Recurrence, Register
from retrieval_gap.theory.constructions.residual_stream import (
    ONE,
    Affine,
    Number,
    ResidualStream,
    direction,
    number,
    square_of,
)

TOKEN, ANSWER = "token", "answer"


@dataclass(frozen=True)
class Layer:
    """What a layer of a program writes, in words."""

    kind: str
    writes: tuple[str, ...]
    words: str


class Program:
    """Layers, in their order, over one stream.

    longest: positions there may be.  positions: whether the stream begins with them; else a recurrence counts them.
    """

    def __init__(self, longest: int, precision: Precision, *, positions: bool = True) -> None:
        self.longest, self.precision = longest, precision
        self.stream = ResidualStream([ONE, TOKEN, POSITION] if positions else [ONE, TOKEN])
        self.modules: list[nn.Module] = []
        self.layers: list[Layer] = []

    def feed_forward(self, writes: Mapping[str, Units], words: str) -> None:
        """A feed-forward layer."""
        self.modules.append(FeedForward(self.stream, writes, self.precision))
        self.layers.append(Layer("feed-forward", tuple(writes), words))

    def squared(self, writes: Mapping[str, Units], words: str) -> list[Number]:
        """A feed-forward layer, and one that writes the squares of what it writes: numbers for look-ups."""
        self.feed_forward(writes, words)
        self.feed_forward({square_of(name): square(direction(name)) for name in writes}, "their squares")
        return [number(name) for name in writes]

    def attend(self, heads: Sequence[Lookup], words: str) -> None:
        """An attention layer."""
        self.modules.append(LookupAttention(self.stream, heads, self.longest, self.precision))
        self.layers.append(Layer("attention", tuple(name for head in heads for name in head.values), words))

    def pointwise(self, function: FunctionName, writes: Mapping[str, Affine], words: str) -> None:
        """A layer of one elementwise function."""
        self.modules.append(Pointwise(self.stream, function, writes, self.precision))
        self.layers.append(Layer(function, tuple(writes), words))

    def recur(self, registers: Mapping[str, Register], words: str) -> None:
        """A layer of linear recurrence."""
        self.modules.append(Recurrence(self.stream, registers, self.precision))
        self.layers.append(Layer("recurrence", tuple(registers), words))
