"""A layer given by its dotted path, such as `fla.layers.GatedLinearAttention`, as a mixer.

Axes: B batch, L time, D model width.

The class must have the interface of the layers of flash-linear-attention (its `layers` and `models.utils.Cache`):

    layer = Class(hidden_size=D, layer_idx=0)                     every other setting is the layer's own default
    y, _, cache = layer(x_BxLxD, past_key_values=cache, use_cache=...)

The cache holds one dictionary per layer, which the layer reads by `len(cache)` and `cache[0]`, and writes by
`cache.update(layer_idx=0, offset=L, recurrent_state=..., conv_state=..., ffn_state=...)`.  `StateCache` is such a cache
for one layer.  The state consists of the tensors that the layer stores there, and state bits are counted from them.  A
layer whose state grows with the context (`attn_state`), or is not a tensor, is refused: write a mixer around it.  These
layers are useful only with CUDA; the tests run some of them, of fla 0.6.0, in Triton's interpreter (`make test-fla`).
"""

import importlib
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from retrieval_gap.machine.errors import UsageError
from retrieval_gap.models.attention import SwiGLU
from retrieval_gap.models.mixer import Mixer, Residual, State


class StateCache:
    """What one layer carries between tokens: a dictionary of tensors (or tuples of them), batch first, or None."""

    def __init__(self, states: dict[str, Any] | None = None, length: int = 0) -> None:
        self.states, self.length = states, length

    def __len__(self) -> int:
        return 0 if self.states is None else 1

    def __getitem__(self, layer_idx: int) -> dict[str, Any]:
        if self.states is None or layer_idx != 0:
            raise IndexError(layer_idx)
        return self.states

    def update(self, *, layer_idx: int = 0, offset: int = 1, **states: Any) -> dict[str, Any]:
        """Replace the given states, after `offset` more tokens.

        Raises UsageError for a state that grows with the context, or does not consist of tensors.
        """
        if states.get("attn_state") is not None:
            raise UsageError("its state grows with the context (attn_state): only recurrent layers are taken by path")
        before = self.states or dict.fromkeys(("recurrent_state", "attn_state", "conv_state", "ffn_state"))
        self.states = before | {name: state for name, state in states.items() if state is not None}
        self.length += offset
        self.tensors()
        return self.states

    def get_seq_length(self, layer_idx: int | None = None) -> int:
        return self.length

    def tensors(self) -> tuple[Tensor, ...]:
        return tuple(_leaves(tuple((self.states or {}).values())))

    def select(self, rows_R: Tensor) -> "StateCache":
        chosen = {name: _rows(state, rows_R) for name, state in (self.states or {}).items()}
        return StateCache(chosen or None, self.length)


def _leaves(state: Any) -> list[Tensor]:
    if isinstance(state, (tuple, list)):
        return [leaf for part in state for leaf in _leaves(part)]
    if state is not None and not isinstance(state, Tensor):
        raise UsageError(f"a part of its state is a {type(state).__name__}, not a tensor")
    return [] if state is None else [state]


def _rows(state: Any, rows_R: Tensor) -> Any:
    if isinstance(state, (tuple, list)):
        return tuple(_rows(part, rows_R) for part in state)
    return None if state is None else state.index_select(0, rows_R)


class LayerMixer(Mixer):
    """The layer, with its cache as the state."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def init_state(self, batch: int) -> StateCache:
        return StateCache()

    def forward(self, x_BxLxD: Float[Tensor, "b l d"]) -> Float[Tensor, "b l d"]:
        return self.layer(x_BxLxD)[0]

    def prefill(self, x_BxLxD: Float[Tensor, "b l d"], state: State) -> tuple[Float[Tensor, "b l d"], State]:
        cache = StateCache(state.states, state.length)
        y_BxLxD = self.layer(x_BxLxD, past_key_values=cache, use_cache=True)[0]
        return y_BxLxD, cache


@dataclass(frozen=True, kw_only=True)
class LayerStack:
    """`n_layers` pairs of the layer and SwiGLU."""

    path: str
    d_model: int
    n_layers: int

    def layers(self) -> list[Residual]:
        kind = find_layer(self.path)
        pairs = (
            (LayerMixer(kind(hidden_size=self.d_model, layer_idx=0)), SwiGLU(self.d_model, 2 * self.d_model))
            for _ in range(self.n_layers)
        )
        return [Residual(self.d_model, mixer) for pair in pairs for mixer in pair]


def sizes_of(path: str) -> dict[str, LayerStack]:
    """Sizes by width and depth alone: the number of parameters depends on the layer; every result reports it.

    Raises UsageError if the path is not that of a layer.
    """
    find_layer(path)
    widths = {"tiny": (64, 3), "0.5m": (96, 5), "1m": (128, 5), "2m": (128, 10)}
    return {size: LayerStack(path=path, d_model=d, n_layers=n) for size, (d, n) in widths.items()}


def find_layer(path: str) -> type[nn.Module]:
    """The class at this dotted path.  Raises UsageError if there is none, or its package is not installed."""
    module, _, name = path.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name, None)
    except Exception as error:
        raise UsageError(f"architecture {path} cannot be imported: {type(error).__name__}: {error}") from error
    if not (isinstance(found, type) and issubclass(found, nn.Module)):
        raise UsageError(f"architecture {path}: {module} has no layer {name!r} (a torch.nn.Module)")
    return found
