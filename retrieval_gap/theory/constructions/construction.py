"""What every construction is: a module with explicit weights that the decoder runs as it runs a trained model.

Axes: B batch, L time, V vocabulary.
"""

import abc
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from retrieval_gap.machine.errors import UsageError
from retrieval_gap.models.mixer import State, state_tensors
from retrieval_gap.tasks.api import Mode, Task, TaskConfig
from retrieval_gap.tasks.recall import RecallTask
from retrieval_gap.theory.constructions.precision import EXACT, Precision


class Construction(nn.Module, abc.ABC):
    """Base of all constructions; a `StepModel` of retrieval_gap.decoding.decode.

    theorem: its number in "RNNs are not Transformers (Yet)".

    A subclass holds its weights as `nn.Parameter`s that need no gradient, and what it computes from a token's number
    (embedding, head) as buffers that are not persistent: these are counted apart, as `embedding_count`.
    """

    theorem: str

    def __init__(self, precision: Precision) -> None:
        super().__init__()
        self.precision = precision
        self.register_buffer("_anchor", torch.zeros((), dtype=EXACT), persistent=False)

    @abc.abstractmethod
    def stated_precision(self, n: int) -> int:
        """Bits of a number in which the construction is exact at problem size n, by its proof: O(log n)."""

    @abc.abstractmethod
    def init_state(self, batch: int) -> State:
        """The state before any token."""

    @abc.abstractmethod
    def prefill(self, tokens_BxL: Int[Tensor, "b l"], state: State | None = None) -> tuple[Float[Tensor, "b v"], State]:
        """Reads a stretch of tokens; the logits after its last one, and the state."""

    @abc.abstractmethod
    def step(self, token_B: Int[Tensor, " b"], state: State) -> tuple[Float[Tensor, "b v"], State]:
        """Reads one token."""

    @torch.no_grad()
    def state_bits(self, length: int) -> int:
        """Bits carried for one sample after `length` tokens: elements of the state's tensors, `precision` bits each."""
        _, state = self.prefill(torch.zeros(1, length, dtype=torch.long, device=self.device))
        return sum(tensor.numel() for tensor in state_tensors(state)) * self.precision.number_bits

    def recurrent_bits(self) -> int:
        """Of the state's bits, those that recurrent layers carry: the same after any number of tokens."""
        return 0

    def parameter_count(self) -> int:
        """Numbers in the weights, zeros included."""
        return sum(parameter.numel() for parameter in self.parameters())

    def parameter_bits(self) -> int:
        """The same in bits."""
        return self.parameter_count() * self.precision.number_bits

    @property
    def device(self) -> torch.device:
        anchor = self._anchor
        assert isinstance(anchor, Tensor)
        return anchor.device


def check_asked_last(task: RecallTask) -> None:
    """Raises UsageError where the query stands in front of the sequence: the theorems have it behind."""
    if task.asks_first:
        raise UsageError(f"{task.name}: constructions are asked behind the sequence; leave --query first out")


def weight(values: Tensor, precision: Precision) -> nn.Parameter:
    """Explicit weights, rounded, that no optimiser touches."""
    return nn.Parameter(precision.round(values.to(EXACT)), requires_grad=False)


Build = Callable[[TaskConfig, Precision], Construction]


@dataclass(frozen=True)
class Builder:
    """How a task's construction is built: `build(task_config, precision)`.

    theorem: as in `Construction`.  mode: the task's view in which it writes.
    view: the task with a trace of the construction's own, where it writes none of the task's views.
    A construction's file lists its builders as `BUILDERS: dict[tuple[str, str], Builder]`, by task and `how`.
    """

    theorem: str
    mode: Mode
    build: Build
    view: type[Task] | None = None
