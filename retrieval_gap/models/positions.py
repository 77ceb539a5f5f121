"""The position encoding of a Transformer: rotary (attention.py), none, a bias on distance, or absolute positions.

Axes: B batch, L time, D model width, H heads, E head width, C keys.

* `none`: only the causal mask gives the order (Kazemnejad et al. 2023, arXiv 2305.19466).
* `alibi`: scores fall with distance, with a fixed slope per head (Press, Smith, Lewis 2021, arXiv 2108.12409).
* `random_offsets`: sinusoids of the position are added to the embedding; in training positions begin at a random
  offset, so that a model sees positions beyond its training length (SHAPE: Kiyono et al. 2021, arXiv 2109.05644).  The
  offset is a hash of a weight: it changes at every step, and a resumed run has the same as an uninterrupted one.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from retrieval_gap.models.attention import CausalAttention, KVCache, StaticKVCache
from retrieval_gap.models.mixer import Mixer, RMSNorm, State

ROTARY, ALIBI, RANDOM_OFFSETS = "rotary", "alibi", "random_offsets"
POSITIONS = (ROTARY, "none", ALIBI, RANDOM_OFFSETS)
LARGEST_OFFSET = 2048
LOOKED_AT = 16  # first tokens of a sample, which distinguish it from others


def attention_with(positions: str, d_model: int, n_heads: int) -> CausalAttention:
    """Attention with that position encoding.  Raises ValueError if it is unknown, or `d_model` does not split into
    heads of even width."""
    if positions not in POSITIONS:
        raise ValueError(f"unknown positions {positions!r} (choose from {', '.join(POSITIONS)})")
    kinds = {ROTARY: CausalAttention, ALIBI: AlibiAttention}
    return kinds.get(positions, UnplacedAttention)(d_model, n_heads)


class UnplacedAttention(CausalAttention):
    """Attention without positions: the rotary kernels with all angles zero."""

    @torch.inference_mode(False)
    def _extend_rope(self, stop: int) -> None:
        super()._extend_rope(stop)
        self.rope_LxE[:, : self.rope_LxE.shape[1] // 2] = 1
        self.rope_LxE[:, self.rope_LxE.shape[1] // 2 :] = 0


class AlibiAttention(CausalAttention):
    """softmax(q k / sqrt(E) - slope * distance): head h of H has slope 2^(-8 (h + 1) / H)."""

    def forward(self, x_BxLxD: Float[Tensor, "b l d"]) -> Float[Tensor, "b l d"]:
        return self.prefill(x_BxLxD, self.init_state(len(x_BxLxD)))[0]

    def residual(self, x_BxLxD: Float[Tensor, "b l d"], norm: RMSNorm) -> Float[Tensor, "b l d"]:
        return Mixer.residual(self, x_BxLxD, norm)

    def residual_prefill(
        self, x_BxLxD: Float[Tensor, "b l d"], norm: RMSNorm, state: State
    ) -> tuple[Float[Tensor, "b l d"], State]:
        return Mixer.residual_prefill(self, x_BxLxD, norm, state)

    def residual_step(
        self, x_BxD: Float[Tensor, "b d"], norm: RMSNorm, state: State
    ) -> tuple[Float[Tensor, "b d"], State]:
        return Mixer.residual_step(self, x_BxD, norm, state)

    def prefill(self, x_BxLxD: Float[Tensor, "b l d"], state: State) -> tuple[Float[Tensor, "b l d"], State]:
        q, k, v = self._heads(x_BxLxD)
        position_L = torch.arange(state.length, state.length + x_BxLxD.shape[1], device=q.device)
        state = state.append(k, v)
        return self._attend(q, state, position_L), state

    def step(self, x_BxD: Float[Tensor, "b d"], state: State) -> tuple[Float[Tensor, "b d"], State]:
        if not isinstance(state, StaticKVCache):
            return Mixer.step(self, x_BxD, state)
        q, k, v = self._heads(x_BxD[:, None])
        state.write(k, v)
        return self._attend(q, state, state.position[None])[:, 0], state

    def _heads(self, x_BxLxD: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        q, k, v = self.qkv_proj(x_BxLxD).unflatten(-1, (3, self.n_heads, -1)).permute(2, 0, 3, 1, 4)
        return q, k, v

    def weights(self, x_BxLxD: Float[Tensor, "b l d"]) -> Float[Tensor, "b h l l"]:
        q, k, _ = self._heads(x_BxLxD)
        bias_HxLxL = self._bias(torch.arange(k.shape[2], device=k.device), k)
        return (q @ k.mT * q.shape[-1] ** -0.5 + bias_HxLxL).softmax(-1)

    def _attend(self, q_BxHxLxE: Tensor, state: KVCache | StaticKVCache, position_L: Tensor) -> Tensor:
        keys, values = state.tensors()
        bias_1xHxLxC = self._bias(position_L, keys)[None]  # torch's fused kernels take masks of 2 or 4 dimensions
        return self._out(F.scaled_dot_product_attention(q_BxHxLxE, keys, values, attn_mask=bias_1xHxLxC))

    def _bias(self, position_L: Tensor, k_BxHxCxE: Tensor) -> Float[Tensor, "h l c"]:
        """Minus slope times distance; minus infinity for a key after the position."""
        distance_LxC = position_L[:, None] - torch.arange(k_BxHxCxE.shape[2], device=k_BxHxCxE.device)
        slope_H = 2.0 ** (-8 * torch.arange(1, self.n_heads + 1, device=k_BxHxCxE.device) / self.n_heads)
        bias_HxLxC = -slope_H[:, None, None] * distance_LxC
        return bias_HxLxC.masked_fill(distance_LxC < 0, -torch.inf).to(k_BxHxCxE.dtype)


class OffsetPositions(Mixer):
    """x plus gain * sinusoids of its positions, before all blocks; its state is the position of the next token.

    In training a sample's positions begin at one of 0 to `LARGEST_OFFSET` - 1, drawn anew at each step; else at 0.  The
    gain begins at the size of a learned embedding's numbers: at 1, positions drown the tokens.
    """

    rate_D: Tensor

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.gain_D = nn.Parameter(torch.full((d_model,), d_model**-0.5))
        even_D = torch.arange(0, d_model, 2, dtype=torch.float64)
        self.register_buffer("rate_D", (10_000 ** -(even_D / d_model)).float(), persistent=False)

    def init_state(self, batch: int) -> tuple[Tensor]:
        return (torch.zeros(batch, 1, dtype=torch.int32, device=self.rate_D.device),)

    def forward(self, x_BxLxD: Float[Tensor, "b l d"]) -> Float[Tensor, "b l d"]:
        first_Bx1 = self._offsets(x_BxLxD) if self.training else self.init_state(len(x_BxLxD))[0]
        return x_BxLxD + self._placed(first_Bx1, x_BxLxD)

    def prefill(self, x_BxLxD: Float[Tensor, "b l d"], state: State) -> tuple[Float[Tensor, "b l d"], State]:
        return x_BxLxD + self._placed(state[0], x_BxLxD), (state[0] + x_BxLxD.shape[1],)

    def _placed(self, first_Bx1: Tensor, x_BxLxD: Tensor) -> Tensor:
        position_BxL = first_Bx1 + torch.arange(x_BxLxD.shape[1], device=first_Bx1.device)
        angle_BxLxD = position_BxL[..., None].float() * self.rate_D
        table_BxLxD = torch.stack([angle_BxLxD.sin(), angle_BxLxD.cos()], -1).flatten(2)[..., : len(self.gain_D)]
        return (self.gain_D * table_BxLxD).to(x_BxLxD.dtype)

    @torch.no_grad()
    def _offsets(self, x_BxLxD: Tensor) -> Tensor:
        """A hash of the gain, which every training step changes, and of the sample's first tokens (by signs, which
        rounding does not change); not of its place in the batch, which changes if the batch is split."""
        bits_D = self.gain_D.float().view(torch.int32).long()
        bits_BxK = (x_BxLxD[:, :LOOKED_AT] > 0).flatten(1).long()
        key = (bits_D * _mixed(torch.arange(len(bits_D), device=bits_D.device))).sum()
        key_B = key + (bits_BxK * _mixed(torch.arange(bits_BxK.shape[1], device=bits_D.device))).sum(1)
        return ((_mixed(key_B) >> 33) % LARGEST_OFFSET).to(torch.int32)[:, None]


def _mixed(value: Tensor) -> Tensor:
    """A 64-bit hash of each integer (after the finaliser of SplitMix64: Steele et al. 2014)."""
    value = (value + 1) * 0x1E3779B97F4A7C15
    value = (value ^ (value >> 30)) * 0x3F58476D1CE4E5B9
    value = (value ^ (value >> 27)) * 0x14D049BB133111EB
    return value ^ (value >> 31)
