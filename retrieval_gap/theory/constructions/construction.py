"""The base of all constructions: a program compiled to a module with explicit weights, which the decoder runs like a
trained model.

Axes: B batch, L time, D directions, V vocabulary.

The head maps the number a in the direction `answer` to logits 2 a v - v^2 of tokens v: the largest is at v = a.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from retrieval_gap.machine.errors import UsageError
from retrieval_gap.models.mixer import State, state_tensors
from retrieval_gap.tasks.api import BOS, Mode, Task, TaskConfig
from retrieval_gap.tasks.recall import RecallTask
from retrieval_gap.theory.constructions.attention import POSITION, LookupAttention
from retrieval_gap.theory.constructions.precision import EXACT, EXPONENT_BITS, Precision
from retrieval_gap.theory.constructions.program import ANSWER, Program
from retrieval_gap.theory.constructions.recurrence import Recurrence

SPARE_BITS = 2


class Construction(nn.Module):
    """A `StepModel` of retrieval_gap.decoding.decode.

    theorem: its number in "RNNs are not Transformers (Yet)".  vocab_size: V.
    largest: the largest whole number (token or position), which determines the stated precision.

    Weights are `nn.Parameter`s that need no gradient.  The head is computed from the tokens' numbers, not stored.
    """

    head_2xV: Tensor

    def __init__(self, program: Program, theorem: str, vocab_size: int, largest: int) -> None:
        super().__init__()
        self.precision, self.theorem, self.largest = program.precision, theorem, largest
        self.layers, self.names = tuple(program.layers), tuple(program.stream.names)
        self.parts = nn.ModuleList(program.modules)
        self.last_attention = max(
            (i for i, part in enumerate(self.parts) if isinstance(part, LookupAttention)), default=-1
        )
        self.counts_positions = POSITION in self.names[:3]
        self.answer = self.names.index(ANSWER)
        value_V = torch.arange(vocab_size, dtype=EXACT) - BOS
        self.register_buffer("head_2xV", self.precision.round(torch.stack([2 * value_V, -(value_V**2)])), False)

    @property
    def stated_precision(self) -> int:
        """Bits of a number with which the construction is exact: enough for the square of the largest number, and a few
        more.  O(log n) at problem size n."""
        return EXPONENT_BITS + 2 * self.largest.bit_length() + SPARE_BITS

    def init_state(self, batch: int) -> State:
        """The position, if the stream begins with it, and one part for each layer with a state."""
        position_B = torch.zeros(batch if self.counts_positions else 0, dtype=EXACT, device=self.device)
        kept = tuple(part.init_state(batch) for part in self.parts if isinstance(part, LookupAttention | Recurrence))
        return (position_B, *kept) if self.counts_positions else kept

    def forward(self, tokens_BxL: Int[Tensor, "b l"]) -> Float[Tensor, "b l v"]:
        """Logits of the token after each position, for all positions in parallel."""
        return self.extend(tokens_BxL, self.init_state(len(tokens_BxL)))[0]

    def extend(self, tokens_BxL: Int[Tensor, "b l"], state: State) -> tuple[Float[Tensor, "b l v"], State]:
        """Read tokens; return the logits after each of them, and the state."""
        x_BxLxD, state = self.read(tokens_BxL, state)
        return self._head(x_BxLxD), state

    def prefill(self, tokens_BxL: Int[Tensor, "b l"], state: State | None = None) -> tuple[Float[Tensor, "b v"], State]:
        """Read tokens; return the logits after the last one, and the state."""
        state = self.init_state(len(tokens_BxL)) if state is None else state
        x_BxLxD, state = self.read(tokens_BxL, state, last_only=True)
        return self._head(x_BxLxD[:, -1]), state

    def step(self, token_B: Int[Tensor, " b"], state: State) -> tuple[Float[Tensor, "b v"], State]:
        """Read one token."""
        return self.prefill(token_B[:, None], state)

    def read(
        self, tokens_BxL: Tensor, state: State, *, last_only: bool = False
    ) -> tuple[Float[Tensor, "b q d"], State]:
        """The whole stream at each of these tokens, or (`last_only`) at the last, and the state after them."""
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

    @torch.no_grad()
    def state_bits(self, length: int) -> int:
        """Bits of one sample's state after `length` tokens: the elements of its tensors, times the precision's bits.
        A cache grows by the same number with every token, which is counted from states after one token and two."""
        counted = []
        for tokens in (1, 2):
            _, state = self.prefill(torch.zeros(1, tokens, dtype=torch.long, device=self.device))
            counted.append(sum(tensor.numel() for tensor in state_tensors(state)) * self.precision.number_bits)
        return counted[0] + (length - 1) * (counted[1] - counted[0])

    def recurrent_bits(self) -> int:
        """Bits of the state in recurrent layers, the same after any number of tokens."""
        kept = (part for part in self.parts if isinstance(part, Recurrence))
        return sum(part.init_state(1).numel() for part in kept) * self.precision.number_bits

    def parameter_count(self) -> int:
        """Number of weights, zeros included."""
        return sum(parameter.numel() for parameter in self.parameters())

    def parameter_bits(self) -> int:
        """Bits of all weights."""
        return self.parameter_count() * self.precision.number_bits

    def computed_count(self, length: int) -> int:
        """Numbers for tokens and positions that are computed, not stored, in texts of `length` tokens: one per token in
        the embedding, two in the head, and one per position."""
        return 3 * self.head_2xV.shape[1] + length * self.counts_positions

    @property
    def device(self) -> torch.device:
        return self.head_2xV.device


def check_asked_last(task: RecallTask) -> None:
    """Raise UsageError if the query comes before the sequence: in the theorems it comes after."""
    if task.asks_first:
        raise UsageError(f"{task.name}: constructions are asked behind the sequence; leave --query first out")


Build = Callable[[TaskConfig, Precision], Construction]


@dataclass(frozen=True)
class Builder:
    """Builder of a task's construction: `build(task_config, precision)`.

    theorem: as in `Construction`.  mode: the task's view that it writes.
    view: the task with the construction's own trace, if that is none of the task's views.
    A construction's file lists its builders as `BUILDERS: dict[tuple[str, str], Builder]`, by task and `how`.
    """

    theorem: str
    mode: Mode
    build: Build
    view: type[Task] | None = None
