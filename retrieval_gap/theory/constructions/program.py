"""A program: layers that read and write named directions.  construction.py turns it into a model.

The stream begins with three directions, computed and not stored: `one`, the number of the token (`[BOS]` is 0) and its
position.  Each layer writes new directions; directions not yet written hold 0 and are left out of the tensors.
The number in the direction `answer` is the next token.
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
    ResidualStream,
    direction,
    square_of,
)

TOKEN, ANSWER = "token", "answer"


@dataclass(frozen=True)
class Layer:
    """A layer's kind, the directions that it writes, and a description in words."""

    kind: str
    writes: tuple[str, ...]
    words: str


class Program:
    """Layers, in order, over one stream.

    longest: largest number of positions.  positions: whether the stream has them; else a recurrence counts them.
    """

    def __init__(self, longest: int, precision: Precision, *, positions: bool = True) -> None:
        self.longest, self.precision = longest, precision
        self.stream = ResidualStream([ONE, TOKEN, POSITION] if positions else [ONE, TOKEN])
        self.modules: list[nn.Module] = []
        self.layers: list[Layer] = []

    def feed_forward(self, writes: Mapping[str, Units], words: str) -> None:
        """Add a feed-forward layer."""
        self.modules.append(FeedForward(self.stream, writes, self.precision))
        self.layers.append(Layer("feed-forward", tuple(writes), words))

    def squared(self, writes: Mapping[str, Units], words: str) -> None:
        """Add a feed-forward layer, and one that squares what it writes, for look-ups."""
        self.feed_forward(writes, words)
        self.feed_forward({square_of(name): square(direction(name)) for name in writes}, "their squares")

    def attend(self, heads: Sequence[Lookup], words: str) -> None:
        """Add an attention layer."""
        self.modules.append(LookupAttention(self.stream, heads, self.longest, self.precision))
        self.layers.append(Layer("attention", tuple(name for head in heads for name in head.values), words))

    def pointwise(self, function: FunctionName, writes: Mapping[str, Affine], words: str) -> None:
        """Add a layer of one elementwise function."""
        self.modules.append(Pointwise(self.stream, function, writes, self.precision))
        self.layers.append(Layer(function, tuple(writes), words))

    def recur(self, registers: Mapping[str, Register], words: str) -> None:
        """Add a layer of linear recurrence."""
        self.modules.append(Recurrence(self.stream, registers, self.precision))
        self.layers.append(Layer("recurrence", tuple(registers), words))
