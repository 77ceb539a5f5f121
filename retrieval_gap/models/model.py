"""A sequence model: embedding, a stack of residual mixers, norm, head.

Axes: B batch, L time, D model width, V vocabulary, M graded positions of a batch.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, cast, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from retrieval_gap.choices import Embedding
from retrieval_gap.models.mixer import Mixer, RMSNorm, State, bits_of, state_tensors
from retrieval_gap.tasks.api import PAD

GROWTH_LENGTHS = (8, 16, 40)  # contexts at which a state is measured
UNGRADED = -100  # the target that cross_entropy ignores


@runtime_checkable
class Architecture(Protocol):
    """What an architecture's file provides, as a frozen dataclass: a width, and the layers between
    embedding and head."""

    @property
    def d_model(self) -> int: ...

    def layers(self) -> Sequence[Mixer]: ...


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """What determines a model's initial weights.

    embedding: "sinusoidal" (tied, frozen: the paper's) or "learned" (tied).
    seed: of the initialisation.
    unread: tokens that the model writes but does not read (`tasks.api.Task.unread`): it reads `[PAD]` instead.
    """

    architecture: Architecture
    vocab_size: int
    embedding: Embedding = "sinusoidal"
    seed: int = 0
    unread: tuple[int, ...] = ()


class StateGrowth(NamedTuple):
    """The size of a state, as a line from the shortest of `GROWTH_LENGTHS` to the longest.

    first: bits at one token, by this line; exact if steady.  per_token: mean number of bits that a further token adds,
    rounded up; 0 for a state of fixed size.  steady: whether each token adds the same."""

    first: int
    per_token: int
    steady: bool


class SequenceModel(nn.Module):
    """Reads tokens, predicts the next one: in parallel over time, or one step at a time from a state."""

    read_as_V: Tensor | None

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            d_model = config.architecture.d_model
            frozen = config.embedding == "sinusoidal"
            table_VxD = (
                sinusoidal_table(config.vocab_size, d_model)
                if frozen
                else torch.randn(config.vocab_size, d_model) * d_model**-0.5
            )
            self.embedding = nn.Embedding.from_pretrained(table_VxD, freeze=frozen)
            self.layers = nn.ModuleList(config.architecture.layers())
            self.norm = RMSNorm(d_model)
        read_as_V = torch.arange(config.vocab_size).index_fill(0, torch.tensor(config.unread, dtype=torch.long), PAD)
        self.register_buffer("read_as_V", read_as_V if config.unread else None, persistent=False)
        self._growth: StateGrowth | None = None

    def forward(self, tokens_BxL: Int[Tensor, "b l"]) -> Float[Tensor, "b l v"]:
        """Logits of the token after each position."""
        return self._head(self._hidden(tokens_BxL))

    def loss(self, tokens_BxL: Int[Tensor, "b l"], loss_mask_BxL: Bool[Tensor, "b l"]) -> Float[Tensor, ""]:
        """Mean cross-entropy, in nats, over the tokens that the mask grades; each is predicted from those before."""
        graded_BxL = loss_mask_BxL[:, 1:]
        hidden_MxD = self._hidden(tokens_BxL[:, :-1])[graded_BxL]
        return F.cross_entropy(self._head(hidden_MxD), tokens_BxL[:, 1:][graded_BxL].long())

    def summed_loss(self, tokens_BxL: Int[Tensor, "b l"], loss_mask_BxL: Bool[Tensor, "b l"]) -> Float[Tensor, ""]:
        """`loss` times the number of graded tokens, by operations whose shapes depend only on that of the tokens."""
        target_BxL = torch.where(loss_mask_BxL[:, 1:], tokens_BxL[:, 1:].long(), UNGRADED)
        logits_BxLxV = self.forward(tokens_BxL[:, :-1]).float()
        return F.cross_entropy(
            logits_BxLxV.flatten(0, 1),
            target_BxL.flatten(),
            ignore_index=UNGRADED,
            reduction="none",  # and then summed: CUDA's own sum runs in a single block
        ).sum()

    def static_state(self, batch: int, capacity: int, position: Int[Tensor, ""]) -> State:
        """The state before any token, in storage that never moves: see `Mixer.static_state`."""
        return tuple(layer.static_state(batch, capacity, position) for layer in self._layers)

    def init_state(self, batch: int) -> State:
        """The state before any token, one part per layer."""
        return tuple(layer.init_state(batch) for layer in self._layers)

    def prefill(self, tokens_BxL: Int[Tensor, "b l"], state: State | None = None) -> tuple[Float[Tensor, "b v"], State]:
        """Read a stretch of tokens; the logits after the last one, and the new state.  May reuse `state`'s storage."""
        if state is None:
            state = self.init_state(tokens_BxL.shape[0])
        x_BxLxD, parts = self.embed(tokens_BxL), []
        for layer, part in zip(self._layers, state, strict=True):
            x_BxLxD, part = layer.prefill(x_BxLxD, part)
            parts.append(part)
        return self._head(x_BxLxD[:, -1]), tuple(parts)

    def step(self, token_B: Int[Tensor, " b"], state: State) -> tuple[Float[Tensor, "b v"], State]:
        """Read one token; the logits after it, and the new state.  May reuse `state`'s storage."""
        x_BxD, parts = self.embed(token_B), []
        for layer, part in zip(self._layers, state, strict=True):
            x_BxD, part = layer.step(x_BxD, part)
            parts.append(part)
        return self._head(x_BxD), tuple(parts)

    @torch.no_grad()
    def state_bits(self, length: int) -> int:
        """The bits of one sample's state after `length` tokens, counted from the tensors themselves."""
        tokens_1xL = torch.zeros(1, length, dtype=torch.long, device=self.device)
        _, state = self.prefill(tokens_1xL)
        return bits_of(state_tensors(state))

    def state_growth(self) -> StateGrowth:
        """How the state grows with the context, measured once."""
        if self._growth is None:
            short, middle, long = (self.state_bits(length) for length in GROWTH_LENGTHS)
            first, half, whole = GROWTH_LENGTHS
            added = -(-(long - short) // (whole - first))  # rounded up: a state that grows at all is not fixed
            steady = (middle - short) * (whole - half) == (long - middle) * (half - first)
            self._growth = StateGrowth(short - added * (first - 1), added, steady)
        return self._growth

    @property
    def device(self) -> torch.device:
        """The device of the weights; tokens go there."""
        return self.embedding.weight.device

    def parameter_count(self) -> int:
        """Trained parameters (a frozen embedding does not count, as in the paper)."""
        return sum(p.numel() for p in self.trained_parameters().values())

    def trained_parameters(self) -> dict[str, nn.Parameter]:
        """What an optimiser updates and a checkpoint holds, by name."""
        return {name: p for name, p in self.named_parameters() if p.requires_grad}

    @property
    def _layers(self) -> Iterable[Mixer]:
        return cast("Iterable[Mixer]", self.layers)

    def embed(self, tokens: Tensor) -> Tensor:
        """The vectors of tokens that the first layer reads; for an unread token, that of `[PAD]`."""
        return self.embedding(tokens if self.read_as_V is None else self.read_as_V[tokens])

    def _hidden(self, tokens_BxL: Tensor) -> Tensor:
        x_BxLxD = self.embed(tokens_BxL)
        for layer in self.layers:
            x_BxLxD = layer(x_BxLxD)
        return x_BxLxD

    def _head(self, x: Tensor) -> Tensor:
        return F.linear(self.norm(x), self.embedding.weight)


def sinusoidal_table(vocab_size: int, d_model: int) -> Float[Tensor, "v d"]:
    """Row i: sin(i / 10000^(j/d)) at even j, cos(i / 10000^((j-1)/d)) at odd j, as in the paper's experiments."""
    even_D = torch.arange(0, d_model, 2, dtype=torch.float64)
    angle_VxD = torch.arange(vocab_size, dtype=torch.float64)[:, None] * 10_000 ** -(even_D / d_model)
    return torch.stack([angle_VxD.sin(), angle_VxD.cos()], -1).flatten(1)[:, :d_model].float()
