"""A program of named directions, and the model that it compiles to.

Axes: B batch, L time, D directions, V vocabulary.

The stream begins with three directions, computed and not stored: `one`, the number of the token (`[BOS]` is 0) and its
position.  Each layer writes new directions; those that are not written yet hold 0 and are left out of the tensors.
The head takes the number a in the direction `answer` to the logits 2 a v - v^2 of tokens v: the largest is at v = a.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from retrieval_gap.models.mixer import State
from retrieval_gap.tasks.api import BOS
from retrieval_gap.theory.constructions.attention import POSITION, Lookup, LookupAttention
from retrieval_gap.theory.constructions.construction import Construction
from retrieval_gap.theory.constructions.feed_forward import FeedForward, Units, square
from retrieval_gap.theory.constructions.pointwise import FunctionName, Pointwise
from retrieval_gap.theory.constructions.precision import EXACT, EXPONENT_BITS, Precision
from retrieval_gap.theory.constructions.recurrence import Recurrence, Register
from retrieval_gap.theory.constructions.stream import ONE, Affine, Number, ResidualStream, direction, number, square_of

TOKEN, ANSWER = "token", "answer"
SPARE_BITS = 2


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


class CompiledModel(Construction):
    """What a program compiles to.

    theorem: see `Construction`.  vocab_size: V.
    largest: the largest whole number (a token's, a position) at problem size n, which decides the stated precision.
    """

    head_2xV: Tensor

    def __init__(self, program: Program, theorem: str, vocab_size: int, largest: Callable[[int], int]) -> None:
        super().__init__(program.precision)
        self.theorem, self.largest = theorem, largest
        self.layers, self.names = tuple(program.layers), tuple(program.stream.names)
        self.parts = nn.ModuleList(program.modules)
        self.last_attention = max(
            (i for i, part in enumerate(self.parts) if isinstance(part, LookupAttention)), default=-1
        )
        self.counts_positions = POSITION in self.names[:3]
        self.answer = self.names.index(ANSWER)
        value_V = torch.arange(vocab_size, dtype=EXACT) - BOS
        self.register_buffer("head_2xV", self.precision.round(torch.stack([2 * value_V, -(value_V**2)])), False)

    def stated_precision(self, n: int) -> int:
        """A square of the largest number has to be exact, and a few bits more."""
        return EXPONENT_BITS + 2 * self.largest(n).bit_length() + SPARE_BITS

    def init_state(self, batch: int) -> State:
        """The position, where the stream begins with it, and a part for each layer that keeps something."""
        position_B = torch.zeros(batch if self.counts_positions else 0, dtype=EXACT, device=self.device)
        kept = tuple(part.init_state(batch) for part in self.parts if isinstance(part, LookupAttention | Recurrence))
        return (position_B, *kept) if self.counts_positions else kept

    def state_bits(self, length: int) -> int:
        """See `Construction`.  A cache grows by as many elements with every token: counted after one token and two."""
        first, second = (super(CompiledModel, self).state_bits(tokens) for tokens in (1, 2))
        return first + (length - 1) * (second - first)

    def recurrent_bits(self) -> int:
        kept = (part for part in self.parts if isinstance(part, Recurrence))
        return sum(part.init_state(1).numel() for part in kept) * self.precision.number_bits

    def forward(self, tokens_BxL: Int[Tensor, "b l"]) -> Float[Tensor, "b l v"]:
        """Logits of the token after each position, all positions at once."""
        return self._head(self.read(tokens_BxL, self.init_state(len(tokens_BxL)))[0])

    def prefill(self, tokens_BxL: Int[Tensor, "b l"], state: State | None = None) -> tuple[Float[Tensor, "b v"], State]:
        """Reads a stretch of tokens; the logits after its last one, and the state."""
        state = self.init_state(len(tokens_BxL)) if state is None else state
        x_BxLxD, state = self.read(tokens_BxL, state, last_only=True)
        return self._head(x_BxLxD[:, -1]), state

    def step(self, token_B: Int[Tensor, " b"], state: State) -> tuple[Float[Tensor, "b v"], State]:
        """Reads one token."""
        return self.prefill(token_B[:, None], state)

    def read(
        self, tokens_BxL: Tensor, state: State, *, last_only: bool = False
    ) -> tuple[Float[Tensor, "b q d"], State]:
        """The whole stream at each of these tokens, or (`last_only`) at the last, and the state after it."""
        rounded, after = self.precision.round, []
        token_BxL = tokens_BxL.to(EXACT) - BOS
        begin = [torch.ones_like(token_BxL), token_BxL]
        kept = iter(state)
        if self.counts_positions:
            position_BxL = next(kept)[:, None] + torch.arange(token_BxL.shape[1], dtype=EXACT, device=self.device)
            begin.append(position_BxL)
            after.append(rounded(position_BxL[:, -1] + 1))
        x_BxLxD = rounded(torch.stack(begin, -1))
        for i, part in enumerate(self.parts):
            if isinstance(part, LookupAttention):
                x_BxLxD, held = part(x_BxLxD, next(kept), last_only=last_only and i == self.last_attention)
                after.append(held)
            elif isinstance(part, Recurrence):
                x_BxLxD, held = part(x_BxLxD, next(kept))
                after.append(held)
            else:
                x_BxLxD = part(x_BxLxD)
        return x_BxLxD, tuple(after)

    def _head(self, x: Tensor) -> Tensor:
        answer = x[..., self.answer, None]
        return self.precision.round(torch.cat([answer, torch.ones_like(answer)], -1) @ self.head_2xV)
