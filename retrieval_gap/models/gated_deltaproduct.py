"""Gated DeltaProduct: several steps of the gated delta rule per token; the state is that of Gated DeltaNet.

Axes: B batch, L time, D model width, H heads, E head width, J updates per token.

Source: Siems et al. 2025 (arXiv 2502.10297), section 3: S_t = a_t (I - b_J k_J k_J') ... (I - b_1 k_1 k_1') S_{t-1} +
what the updates add.  A token multiplies the state by a product of J generalised Householder matrices.  With strengths
b up to 2, and so eigenvalues down to -1, it can permute J + 1 values in one step; with eigenvalues in [0, 1] it cannot
even track parity (Grazzi et al. 2024, arXiv 2411.12537).  With one update and eigenvalues in [0, 1] this is Gated
DeltaNet."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from retrieval_gap.about import About
from retrieval_gap.kernels.causal_conv1d import causal_conv1d, causal_conv1d_step
from retrieval_gap.models.attention import with_swiglus
from retrieval_gap.models.gated_deltanet import D_CONV, GatedDeltaMixer, gated_delta_rule, of_length_1
from retrieval_gap.models.mixer import Residual, State
from retrieval_gap.models.step_cost import Count, Work

# The largest strength of an update, by the eigenvalues that it allows.
STRENGTHS = {"signed": 2.0, "positive": 1.0}


@dataclass(frozen=True, kw_only=True)
class GatedDeltaProduct:
    """`n_layers` pairs of the gated delta product and SwiGLU.

    n_h: updates per token.  eigenvalues: `signed`, in [-1, 1], or `positive`, in [0, 1].  conv: width of a short
    convolution before the first of each pair; None: no convolution.
    """

    d_model: int
    d_ff: int
    n_layers: int
    n_heads: int = 4
    n_h: int = 2
    eigenvalues: str = "signed"
    conv: int | None = None

    def layers(self) -> list[Residual]:
        mixers = (
            GatedDeltaProductMixer(self.d_model, self.n_heads, self.n_h, self.eigenvalues) for _ in range(self.n_layers)
        )
        return with_swiglus(mixers, self.d_model, self.d_ff, self.conv)


ABOUT = About(name="Gated DeltaProduct", state="fixed", slot=7)
SIZES = {
    "tiny": GatedDeltaProduct(d_model=64, d_ff=16, n_layers=3),
    "0.5m": GatedDeltaProduct(d_model=96, d_ff=128, n_layers=5),
    "1m": GatedDeltaProduct(d_model=128, d_ff=236, n_layers=5),
    "2m": GatedDeltaProduct(d_model=128, d_ff=236, n_layers=10),
}


class GatedDeltaProductMixer(GatedDeltaMixer):
    """The gated delta rule J times per token: the first update decays the state, the last one is read.

    Raises ValueError if the heads do not divide the width, for fewer than 1 update, or an unknown `eigenvalues`.
    """

    def __init__(self, d_model: int, n_heads: int, updates: int, eigenvalues: str) -> None:
        if updates < 1:
            raise ValueError(f"n_h = {updates}: expected 1 or more updates per token")
        if eigenvalues not in STRENGTHS:
            raise ValueError(f"unknown eigenvalues {eigenvalues!r} (choose from {', '.join(STRENGTHS)})")
        super().__init__(d_model, n_heads, updates)
        self.updates, self.largest_strength = updates, STRENGTHS[eigenvalues]

    def work(self, context: Count) -> Work:
        """Per state element, 3 operations (decay, two for S q) and 4 per update (two for S k, k u, their sum)."""
        d_model, channels = self.out_proj.in_features, len(self.conv_weight_FxW)
        states = d_model * (d_model // self.n_heads)
        flops = (3 + 4 * self.updates) * states + 2 * D_CONV * channels
        return Work(flops=flops, floats=2 * channels + 2 * d_model, kernels=3)

    def prefill(self, x_BxLxD: Float[Tensor, "b l d"], state: State) -> tuple[Float[Tensor, "b l d"], State]:
        window_BxWxF, s_BxHxExE = state
        qkv_BxLxF, window_BxWxF = causal_conv1d(
            self.qkv_proj(x_BxLxD), self.conv_weight_FxW, self.conv_bias_F, initial_state_BxKxD=window_BxWxF
        )
        o_BxLxHxE, s_BxHxExE = gated_delta_product(*self._updates(qkv_BxLxF, x_BxLxD), s_BxHxExE)
        return self._out(o_BxLxHxE, x_BxLxD), (window_BxWxF, s_BxHxExE)

    def step(self, x_BxD: Float[Tensor, "b d"], state: State) -> tuple[Float[Tensor, "b d"], State]:
        window_BxWxF, s_BxHxExE = state
        qkv_BxF, window_BxWxF = causal_conv1d_step(
            self.qkv_proj(x_BxD), self.conv_weight_FxW, self.conv_bias_F, window_BxWxF
        )
        q, k_BxJxHxE, v_BxJxHxE, log_a_BxH, b_BxJxH = self._updates(qkv_BxF, x_BxD)
        s_BxHxExE = s_BxHxExE * log_a_BxH[..., None, None].exp()
        for k, v, b in zip(k_BxJxHxE.unbind(1), v_BxJxHxE.unbind(1), b_BxJxH.unbind(1), strict=True):
            u_BxHxE = b[..., None] * (v - (k[..., None, :] @ s_BxHxExE)[..., 0, :])
            s_BxHxExE = s_BxHxExE + k[..., None] * u_BxHxE[..., None, :]
        return self._out((q[..., None, :] @ s_BxHxExE)[..., 0, :], x_BxD), (window_BxWxF, s_BxHxExE)

    def _updates(self, qkv: Tensor, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Query, keys, values, log decay and strengths of each token."""
        d_model, shape = x.shape[-1], (self.updates, self.n_heads, -1)
        q, k, v = qkv.split([d_model, self.updates * d_model, self.updates * d_model], -1)
        dt_b = self.ab_proj(x).unflatten(-1, (1 + self.updates, self.n_heads))
        log_a = self._log_decay(dt_b[..., 0, :])
        b = self.largest_strength * dt_b[..., 1:, :].sigmoid()
        q = q.unflatten(-1, (self.n_heads, -1))
        return of_length_1(q), of_length_1(k.unflatten(-1, shape)), v.unflatten(-1, shape), log_a, b


def gated_delta_product(
    q_BxLxHxE: Float[Tensor, "b l h e"],
    k_BxLxJxHxE: Float[Tensor, "b l j h e"],
    v_BxLxJxHxE: Float[Tensor, "b l j h e"],
    log_a_BxLxH: Float[Tensor, "b l h"],
    b_BxLxJxH: Float[Tensor, "b l j h"],
    s_BxHxExE: Float[Tensor, "b h e e"],
) -> tuple[Float[Tensor, "b l h e"], Float[Tensor, "b h e e"]]:
    """The outputs and the last state of `GatedDeltaProductMixer`'s recurrence from the state s, in chunks.

    It is the gated delta rule on J times as many steps: only a token's first update decays, only its last is read.
    """
    updates = k_BxLxJxHxE.shape[2]
    if updates == 1:
        q, k, v, b = q_BxLxHxE, k_BxLxJxHxE[:, :, 0], v_BxLxJxHxE[:, :, 0], b_BxLxJxH[:, :, 0]
        return gated_delta_rule(q, k, v, log_a_BxLxH, b, s_BxHxExE)
    first_J = torch.arange(updates, device=q_BxLxHxE.device) == 0
    log_a_BxLxJxH = log_a_BxLxH[:, :, None] * first_J[:, None]
    q_BxLxJxHxE = q_BxLxHxE[:, :, None].expand_as(k_BxLxJxHxE)
    q, k, v = (t.flatten(1, 2) for t in (q_BxLxJxHxE, k_BxLxJxHxE, v_BxLxJxHxE))
    o_BxTxHxE, s_BxHxExE = gated_delta_rule(q, k, v, log_a_BxLxJxH.flatten(1, 2), b_BxLxJxH.flatten(1, 2), s_BxHxExE)
    return o_BxTxHxE[:, updates - 1 :: updates], s_BxHxExE
