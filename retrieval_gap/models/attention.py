"""The two mixers of a LLaMA block: causal self-attention with rotary positions, and SwiGLU.

Axes: B batch, L time, D model width, H heads, E head width, C cache capacity, F feed-forward width.
Source: Touvron et al. 2023 (arXiv 2302.13971) section 2.2; rotary positions: Su et al. 2021 (arXiv 2104.09864),
in the half-split layout of the public LLaMA weights.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from retrieval_gap.kernels.residual import (
    AttentionWeights,
    residual_attention,
    residual_attention_step,
    residual_swiglu,
)
from retrieval_gap.kernels.residual.naive import split_heads
from retrieval_gap.models.mixer import Mixer, Residual, RMSNorm, State
from retrieval_gap.models.short_conv import with_conv
from retrieval_gap.models.step_cost import Count, Work

ROPE_BASE = 10_000.0


@dataclass(frozen=True)
class KVCache:
    """Keys and values of the tokens read; storage grows by doubling, so one step writes one position."""

    k_BxHxCxE: Tensor
    v_BxHxCxE: Tensor
    length: int = 0

    def tensors(self) -> tuple[Tensor, Tensor]:
        return self.k_BxHxCxE[:, :, : self.length], self.v_BxHxCxE[:, :, : self.length]

    def select(self, rows_R: Tensor) -> "KVCache":
        k, v = self.tensors()
        return KVCache(k.index_select(0, rows_R), v.index_select(0, rows_R), self.length)

    def append(self, k_BxHxLxE: Tensor, v_BxHxLxE: Tensor) -> "KVCache":
        longer = self.longer(k_BxHxLxE.shape[2])
        for tensor, added in zip(longer.tensors(), (k_BxHxLxE, v_BxHxLxE), strict=True):
            tensor[:, :, self.length :] = added
        return longer

    def longer(self, tokens: int) -> "KVCache":
        """The cache with `tokens` more tokens, whose keys and values are yet to be written."""
        start, stop = self.length, self.length + tokens
        k, v = self.k_BxHxCxE, self.v_BxHxCxE
        if stop > k.shape[2]:
            room = 2 * stop - start
            k, v = (F.pad(t[:, :, :start], (0, 0, 0, room)) for t in (k, v))
        return KVCache(k, v, stop)


@dataclass(frozen=True)
class StaticKVCache:
    """Keys and values in storage of fixed size, with the position of the next token in a tensor: a CUDA graph writes
    one position and reads all of them, with the empty ones masked."""

    k_BxHxCxE: Tensor
    v_BxHxCxE: Tensor
    position: Tensor

    def tensors(self) -> tuple[Tensor, Tensor]:
        return self.k_BxHxCxE, self.v_BxHxCxE

    def narrow(self, rows: int, capacity: int) -> "StaticKVCache":
        k, v = (tensor[:rows, :, :capacity] for tensor in self.tensors())
        return StaticKVCache(k, v, self.position)

    def write(self, k_BxHx1xE: Tensor, v_BxHx1xE: Tensor) -> None:
        self.k_BxHxCxE.index_copy_(2, self.position[None], k_BxHx1xE)
        self.v_BxHxCxE.index_copy_(2, self.position[None], v_BxHx1xE)

    def mask(self) -> Tensor:
        """Which keys the token at `position` may attend to, 1xC."""
        return (torch.arange(self.k_BxHxCxE.shape[2], device=self.position.device) <= self.position)[None]


class CausalAttention(Mixer):
    """Multi-head causal self-attention; its state is the KV cache, which grows with the context.

    Raises ValueError if `d_model` does not split into heads of even width.
    """

    rope_LxE: Tensor

    def __init__(self, d_model: int, n_heads: int) -> None:
        super().__init__()
        if d_model % (2 * n_heads):
            raise ValueError(f"d_model = {d_model} does not split into {n_heads} heads of even width")
        self.n_heads = n_heads
        self.qkv_proj = nn.Linear(d_model, 3 * d_model, bias=False)
        self.o_proj = nn.Linear(d_model, d_model, bias=False)
        for linear in (self.qkv_proj, self.o_proj):
            nn.init.normal_(linear.weight, std=linear.in_features**-0.5)
        self.register_buffer("rope_LxE", torch.empty(0, d_model // n_heads), persistent=False)

    def init_state(self, batch: int) -> KVCache:
        weight = self.qkv_proj.weight
        empty = weight.new_empty(batch, self.n_heads, 0, weight.shape[1] // self.n_heads)
        return KVCache(empty, empty)

    def static_state(self, batch: int, capacity: int, position: Tensor) -> StaticKVCache:
        weight = self.qkv_proj.weight
        self._rope(0, capacity)  # extended now: the table must not move once a graph has read it
        k, v = (weight.new_zeros(batch, self.n_heads, capacity, weight.shape[1] // self.n_heads) for _ in "kv")
        return StaticKVCache(k, v, position)

    def work(self, context: Count) -> Work:
        d_model = self.o_proj.in_features
        return Work(flops=4 * d_model * context, floats=4 * d_model, kernels=2)  # rotation, attention

    def forward(self, x_BxLxD: Float[Tensor, "b l d"]) -> Float[Tensor, "b l d"]:
        q, k, v = split_heads(self.qkv_proj(x_BxLxD), self._rope(0, x_BxLxD.shape[1]))
        return self._out(F.scaled_dot_product_attention(q, k, v, is_causal=True))

    def weights(self, x_BxLxD: Float[Tensor, "b l d"]) -> Float[Tensor, "b h l l"]:
        """The weight of each earlier token (column) for every token (row), for inspection: `forward` never holds these
        in memory."""
        length = x_BxLxD.shape[1]
        q, k, _ = split_heads(self.qkv_proj(x_BxLxD), self._rope(0, length))
        scores_BxHxLxL = q @ k.mT * q.shape[-1] ** -0.5
        later_LxL = torch.ones(length, length, dtype=torch.bool, device=q.device).triu(1)
        return scores_BxHxLxL.masked_fill(later_LxL, -torch.inf).softmax(-1)

    def residual(self, x_BxLxD: Float[Tensor, "b l d"], norm: RMSNorm) -> Float[Tensor, "b l d"]:
        rope_LxE = self._rope(0, x_BxLxD.shape[1])
        return residual_attention(x_BxLxD, self._weights(norm), rope_LxE, norm.eps)

    def residual_prefill(
        self, x_BxLxD: Float[Tensor, "b l d"], norm: RMSNorm, state: State
    ) -> tuple[Float[Tensor, "b l d"], State]:
        length = x_BxLxD.shape[1]
        if torch.is_grad_enabled() or (state.length and length > 1):
            return super().residual_prefill(x_BxLxD, norm, state)
        if state.length:
            y_BxD, state = self.residual_step(x_BxLxD[:, 0], norm, state)
            return y_BxD[:, None], state
        state, rope_LxE = state.longer(length), self._rope(0, length)
        tensors = state.tensors()
        return residual_attention(x_BxLxD, self._weights(norm), rope_LxE, norm.eps, cache=tensors), state

    def residual_step(
        self, x_BxD: Float[Tensor, "b d"], norm: RMSNorm, state: State
    ) -> tuple[Float[Tensor, "b d"], State]:
        if torch.is_grad_enabled() or not isinstance(state, KVCache):
            return super().residual_step(x_BxD, norm, state)
        position, state = state.length, state.longer(1)
        rope_E = self._rope(position, position + 1)[0]
        return residual_attention_step(x_BxD, self._weights(norm), rope_E, state.tensors(), norm.eps), state

    def _weights(self, norm: RMSNorm) -> AttentionWeights:
        return AttentionWeights(norm.weight, self.qkv_proj.weight, self.o_proj.weight)

    def prefill(self, x_BxLxD: Float[Tensor, "b l d"], state: State) -> tuple[Float[Tensor, "b l d"], State]:
        start, length = state.length, x_BxLxD.shape[1]
        q, k, v = split_heads(self.qkv_proj(x_BxLxD), self._rope(start, start + length))
        state = state.append(k, v)
        if start == 0:
            return self._out(F.scaled_dot_product_attention(q, k, v, is_causal=True)), state
        keys, values = state.tensors()
        mask = None if length == 1 else _later_stretch_mask(start, length, q.device)
        return self._out(F.scaled_dot_product_attention(q, keys, values, attn_mask=mask)), state

    def step(self, x_BxD: Float[Tensor, "b d"], state: State) -> tuple[Float[Tensor, "b d"], State]:
        if not isinstance(state, StaticKVCache):
            return super().step(x_BxD, state)
        rope_1xE = self.rope_LxE.index_select(0, state.position[None])
        q, k, v = split_heads(self.qkv_proj(x_BxD[:, None]), rope_1xE)
        state.write(k, v)
        y_BxHx1xE = F.scaled_dot_product_attention(q, *state.tensors(), attn_mask=state.mask())
        return self._out(y_BxHx1xE)[:, 0], state

    def _out(self, y_BxHxLxE: Tensor) -> Tensor:
        return self.o_proj(y_BxHxLxE.transpose(1, 2).flatten(2))

    def _rope(self, start: int, stop: int) -> Float[Tensor, "l e"]:
        """Cosines, then sines, of the positions, each for half of a head."""
        if stop > len(self.rope_LxE):
            self._extend_rope(stop)
        return self.rope_LxE[start:stop]

    @torch.inference_mode(False)  # a table extended while decoding must serve a later training step
    def _extend_rope(self, stop: int) -> None:
        half, device = self.rope_LxE.shape[1] // 2, self.rope_LxE.device
        rate_E = ROPE_BASE ** -(torch.arange(half, device=device, dtype=torch.float32) / half)
        angle_LxE = torch.arange(2 * stop, device=device, dtype=torch.float32)[:, None] * rate_E
        self.rope_LxE = torch.cat([angle_LxE.cos(), angle_LxE.sin()], 1).to(self.rope_LxE.dtype)


def _later_stretch_mask(start: int, length: int, device: torch.device) -> Tensor:
    """Which keys each query may attend to, in a stretch that is read after `start` tokens."""
    position_L = torch.arange(start, start + length, device=device)
    return torch.arange(start + length, device=device) <= position_L[:, None]


def with_swiglus(mixers: Iterable[Mixer], d_model: int, d_ff: int, conv: int | None) -> list[Residual]:
    """Each mixer, after a short convolution of width `conv` (None: no convolution), followed by a SwiGLU."""
    layers = []
    for mixer in mixers:
        layers += [Residual(d_model, with_conv(mixer, d_model, conv)), Residual(d_model, SwiGLU(d_model, d_ff))]
    return layers


class SwiGLU(Mixer):
    """down(silu(gate x) * up x); keeps nothing between tokens."""

    def __init__(self, d_model: int, d_ff: int) -> None:
        super().__init__()
        self.gate_up_proj = nn.Linear(d_model, 2 * d_ff, bias=False)
        self.down_proj = nn.Linear(d_ff, d_model, bias=False)
        for linear in (self.gate_up_proj, self.down_proj):
            nn.init.normal_(linear.weight, std=linear.in_features**-0.5)

    def work(self, context: Count) -> Work:
        return Work(floats=3 * self.down_proj.in_features, kernels=1)

    def forward(self, x: Float[Tensor, "*b d"]) -> Float[Tensor, "*b d"]:
        gate, up = self.gate_up_proj(x).chunk(2, -1)
        return self.down_proj(F.silu(gate) * up)

    def residual(self, x_RxD: Float[Tensor, "*r d"], norm: RMSNorm) -> Float[Tensor, "*r d"]:
        return residual_swiglu(x_RxD, norm.weight, self.gate_up_proj.weight, self.down_proj.weight, norm.eps)

    def step(self, x_BxD: Float[Tensor, "b d"], state: State) -> tuple[Float[Tensor, "b d"], State]:
        return self.forward(x_BxD), state

    def residual_prefill(
        self, x_BxLxD: Float[Tensor, "b l d"], norm: RMSNorm, state: State
    ) -> tuple[Float[Tensor, "b l d"], State]:
        return self.residual(x_BxLxD, norm), state

    def residual_step(
        self, x_BxD: Float[Tensor, "b d"], norm: RMSNorm, state: State
    ) -> tuple[Float[Tensor, "b d"], State]:
        return self.residual(x_BxD, norm), state
