"""The protocol of a mixer, and the pre-norm residual wrapper around it.

Axes: B batch, L time, D model width, R some rows of the batch.

A model is a stack of `Residual(mixer)`.  A mixer that keeps nothing between tokens (an MLP) needs only `forward`;
one that does implements `init_state`, `prefill` and `step` as well.
"""

from collections.abc import Iterable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from retrieval_gap.kernels.rms_norm import rms_norm
from retrieval_gap.models.step_cost import Count, Work

State = Any
"""What a mixer carries between tokens: a tuple of tensors whose first axis is the batch, or an object with
`tensors()` (those tensors, cut to what is in use) and `select(rows)`."""


class Mixer(nn.Module):
    """Maps a sequence to a sequence of the same shape, causally.

    `forward(x)`, `prefill(x, init_state)` and `step` over time give the same outputs.
    """

    def init_state(self, batch: int) -> State:
        """The state before any token.  The default is for mixers without a state."""
        return ()

    def work(self, context: Count) -> Work | None:
        """The work of a forward pass over one token, which sees `context` tokens, itself included, besides the matrix
        products of its submodules.  None: it is measured, these products included."""
        return None

    def static_state(self, batch: int, capacity: int, position: Tensor) -> State:
        """The state before any token, in storage that never moves or changes its shape, for `step` in a CUDA graph.
        The default is for states of fixed shape; it raises TypeError for one that holds anything but tensors.

        capacity: tokens it must hold.  position: tokens it holds, in a tensor that the caller increments after a step.
        """
        return _copied(self.init_state(batch))

    def forward(self, x_BxLxD: Float[Tensor, "b l d"]) -> Float[Tensor, "b l d"]:
        """All positions in parallel, from the empty state."""
        return self.prefill(x_BxLxD, self.init_state(x_BxLxD.shape[0]))[0]

    def residual(self, x_BxLxD: Float[Tensor, "b l d"], norm: "RMSNorm") -> Float[Tensor, "b l d"]:
        """x + forward(norm(x)); a mixer may run all of it in one kernel."""
        return x_BxLxD + self(norm(x_BxLxD))

    def residual_prefill(
        self, x_BxLxD: Float[Tensor, "b l d"], norm: "RMSNorm", state: State
    ) -> tuple[Float[Tensor, "b l d"], State]:
        """x + prefill(norm(x), state), and the new state; likewise."""
        y_BxLxD, state = self.prefill(norm(x_BxLxD), state)
        return x_BxLxD + y_BxLxD, state

    def residual_step(
        self, x_BxD: Float[Tensor, "b d"], norm: "RMSNorm", state: State
    ) -> tuple[Float[Tensor, "b d"], State]:
        """x + step(norm(x), state), and the new state; likewise."""
        y_BxD, state = self.step(norm(x_BxD), state)
        return x_BxD + y_BxD, state

    def prefill(self, x_BxLxD: Float[Tensor, "b l d"], state: State) -> tuple[Float[Tensor, "b l d"], State]:
        """Read a stretch of a sequence, starting from `state`; may reuse the state's storage."""
        return self.forward(x_BxLxD), state

    def step(self, x_BxD: Float[Tensor, "b d"], state: State) -> tuple[Float[Tensor, "b d"], State]:
        """Read one token, starting from `state`; may reuse the state's storage."""
        y_Bx1xD, state = self.prefill(x_BxD[:, None], state)
        return y_Bx1xD[:, 0], state


def state_tensors(state: State) -> list[Tensor]:
    """The tensors of a state, cut to what is in use."""
    if isinstance(state, tuple):
        return [tensor for part in state for tensor in state_tensors(part)]
    return [state] if isinstance(state, Tensor) else list(state.tensors())


def bits_of(tensors: Iterable[Tensor]) -> int:
    """The bits of one sample's tensors: one per boolean, and for each number the bits that it is stored in."""
    return sum(t.numel() * (1 if t.dtype == torch.bool else 8 * t.element_size()) for t in tensors)


def select_rows(state: State, rows_R: Tensor) -> State:
    """The same state for some samples of the batch."""
    if isinstance(state, tuple):
        return tuple(select_rows(part, rows_R) for part in state)
    return state.index_select(0, rows_R) if isinstance(state, Tensor) else state.select(rows_R)


def _copied(state: State) -> State:
    if isinstance(state, tuple):
        return tuple(_copied(part) for part in state)
    if not isinstance(state, Tensor):
        raise TypeError(f"a mixer whose state holds a {type(state).__name__} needs a static_state of its own")
    return state.clone()


def write_state(static: State, state: State, first: int = 0) -> None:
    """Write a state into the rows of a static one from `first` on, at the start of each tensor's other axes.

    Raises RuntimeError if a tensor is larger than its storage.
    """
    for storage, tensor in zip(state_tensors(static), state_tensors(state), strict=True):
        if storage is not tensor:
            corner = tuple(slice(0, size) for size in tensor.shape[1:])
            storage[(slice(first, first + len(tensor)), *corner)].copy_(tensor)


def narrow_state(static: State, rows: int, capacity: int) -> State:
    """A view of the first `rows` rows and `capacity` tokens of a static state."""
    if isinstance(static, tuple):
        return tuple(narrow_state(part, rows, capacity) for part in static)
    return static[:rows] if isinstance(static, Tensor) else static.narrow(rows, capacity)


class RMSNorm(nn.Module):
    """Root-mean-square normalisation with a learned gain (Zhang and Sennrich, 2019)."""

    def __init__(self, d_model: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(d_model))
        self.eps = eps

    def forward(self, x: Float[Tensor, "*b d"]) -> Float[Tensor, "*b d"]:
        return rms_norm(x, self.weight, self.eps)


class Residual(Mixer):
    """x + mixer(norm(x))."""

    def __init__(self, d_model: int, mixer: Mixer) -> None:
        super().__init__()
        self.norm = RMSNorm(d_model)
        self.mixer = mixer

    def work(self, context: Count) -> Work:
        return Work(floats=3 * self.norm.weight.numel(), kernels=1)

    def init_state(self, batch: int) -> State:
        return self.mixer.init_state(batch)

    def static_state(self, batch: int, capacity: int, position: Tensor) -> State:
        return self.mixer.static_state(batch, capacity, position)

    def forward(self, x_BxLxD: Float[Tensor, "b l d"]) -> Float[Tensor, "b l d"]:
        return self.mixer.residual(x_BxLxD, self.norm)

    def prefill(self, x_BxLxD: Float[Tensor, "b l d"], state: State) -> tuple[Float[Tensor, "b l d"], State]:
        return self.mixer.residual_prefill(x_BxLxD, self.norm, state)

    def step(self, x_BxD: Float[Tensor, "b d"], state: State) -> tuple[Float[Tensor, "b d"], State]:
        return self.mixer.residual_step(x_BxD, self.norm, state)
