"""Gated DeltaNet: the gated delta rule followed by a SwiGLU; the state is (conv window, one matrix per head).

Axes: B batch, L time, D model width, H heads, E head width (of keys and values), W conv width, F channels of the
convolution (3D), N chunks, C tokens of a chunk (in a product over two times: I for the later one, J for the earlier).

Source: Yang, Kautz, Hatamizadeh 2024 (arXiv 2412.06464), section 3: the recurrence, its chunkwise form, and the layer
(without the negative or doubled strengths of later work).  Sizes are ours, with about as many parameters as the other
architectures.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from retrieval_gap.about import About
from retrieval_gap.kernels.causal_conv1d import causal_conv1d, causal_conv1d_step
from retrieval_gap.models.attention import with_swiglus
from retrieval_gap.models.gla import decays_between, in_chunks
from retrieval_gap.models.mixer import Mixer, Residual, RMSNorm, State
from retrieval_gap.models.step_cost import Count, Work

D_CONV = 4
DT_MIN, DT_MAX, LARGEST_A = 1e-3, 1e-1, 16.0  # at initialisation, as in Mamba and Mamba-2


@dataclass(frozen=True, kw_only=True)
class GatedDeltaNet:
    """`n_layers` pairs of the gated delta rule and SwiGLU.

    conv: width of a short convolution before the first of each pair; None: no convolution.
    """

    d_model: int
    d_ff: int
    n_layers: int
    n_heads: int = 4
    conv: int | None = None

    def layers(self) -> list[Residual]:
        mixers = (GatedDeltaMixer(self.d_model, self.n_heads) for _ in range(self.n_layers))
        return with_swiglus(mixers, self.d_model, self.d_ff, self.conv)


ABOUT = About(name="Gated DeltaNet", state="fixed", slot=6)
SIZES = {
    "tiny": GatedDeltaNet(d_model=64, d_ff=64, n_layers=3),
    "0.5m": GatedDeltaNet(d_model=96, d_ff=196, n_layers=5),
    "1m": GatedDeltaNet(d_model=128, d_ff=326, n_layers=5),
    "2m": GatedDeltaNet(d_model=128, d_ff=326, n_layers=10),
}


class GatedDeltaMixer(Mixer):
    """o_t = S_t' q_t, S_t = a_t (I - b_t k_t k_t') S_{t-1} + b_t k_t v_t': v_t replaces what was stored under k_t.

    Decay a_t = exp(-A softplus(dt_t)) and strength b_t lie in (0, 1), one of each per head; q and k have norm 1.
    updates: number of keys, values and strengths per token, more than 1 in gated_deltaproduct.py.
    Raises ValueError if the heads do not divide the width.
    """

    def __init__(self, d_model: int, n_heads: int, updates: int = 1) -> None:
        super().__init__()
        if d_model % n_heads:
            raise ValueError(f"d_model = {d_model} does not split into {n_heads} heads")
        self.n_heads = n_heads
        channels = (1 + 2 * updates) * d_model
        self.qkv_proj = nn.Linear(d_model, channels, bias=False)
        self.conv_weight_FxW = nn.Parameter(torch.empty(channels, D_CONV).uniform_(-(D_CONV**-0.5), D_CONV**-0.5))
        self.conv_bias_F = nn.Parameter(torch.zeros(channels))
        self.ab_proj = nn.Linear(d_model, (1 + updates) * n_heads, bias=False)
        dt_H = torch.empty(n_heads).uniform_(math.log(DT_MIN), math.log(DT_MAX)).exp()
        self.dt_bias_H = nn.Parameter(dt_H + torch.log(-torch.expm1(-dt_H)))  # the inverse of softplus
        self.A_log_H = nn.Parameter(torch.empty(n_heads).uniform_(1, LARGEST_A).log())
        self.gate_proj = nn.Linear(d_model, d_model, bias=False)
        self.norm = RMSNorm(d_model // n_heads)
        self.out_proj = nn.Linear(d_model, d_model, bias=False)
        for linear in (self.qkv_proj, self.gate_proj, self.out_proj):
            nn.init.normal_(linear.weight, std=linear.in_features**-0.5)

    def init_state(self, batch: int) -> tuple[Tensor, Tensor]:
        weight = self.conv_weight_FxW
        width = self.out_proj.in_features // self.n_heads
        return (
            weight.new_zeros(batch, D_CONV - 1, len(weight)),
            weight.new_zeros(batch, self.n_heads, width, width),
        )

    def work(self, context: Count) -> Work:
        """Seven operations per state element (decay, two for S k, k u, their sum, two for S q), two per tap of the
        convolution.  It reads q, k, v before and after the convolution, and the gate."""
        d_model = self.out_proj.in_features
        states = d_model * (d_model // self.n_heads)
        return Work(flops=7 * states + 6 * D_CONV * d_model, floats=(3 + 3 + 2) * d_model, kernels=3)

    def prefill(self, x_BxLxD: Float[Tensor, "b l d"], state: State) -> tuple[Float[Tensor, "b l d"], State]:
        window_BxWxF, s_BxHxExE = state
        qkv_BxLxF, window_BxWxF = causal_conv1d(
            self.qkv_proj(x_BxLxD), self.conv_weight_FxW, self.conv_bias_F, initial_state_BxKxD=window_BxWxF
        )
        q, k, v = self._heads(qkv_BxLxF)
        o_BxLxHxE, s_BxHxExE = gated_delta_rule(q, k, v, *self._decay_and_strength(x_BxLxD), s_BxHxExE)
        return self._out(o_BxLxHxE, x_BxLxD), (window_BxWxF, s_BxHxExE)

    def step(self, x_BxD: Float[Tensor, "b d"], state: State) -> tuple[Float[Tensor, "b d"], State]:
        window_BxWxF, s_BxHxExE = state
        qkv_BxF, window_BxWxF = causal_conv1d_step(
            self.qkv_proj(x_BxD), self.conv_weight_FxW, self.conv_bias_F, window_BxWxF
        )
        q, k, v = self._heads(qkv_BxF)
        log_a_BxH, b_BxH = self._decay_and_strength(x_BxD)
        decayed = s_BxHxExE * log_a_BxH[..., None, None].exp()
        u_BxHxE = b_BxH[..., None] * (v - (k[..., None, :] @ decayed)[..., 0, :])
        s_BxHxExE = decayed + k[..., None] * u_BxHxE[..., None, :]
        return self._out((q[..., None, :] @ s_BxHxExE)[..., 0, :], x_BxD), (window_BxWxF, s_BxHxExE)

    def _heads(self, qkv: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        q, k, v = (t.unflatten(-1, (self.n_heads, -1)) for t in qkv.chunk(3, -1))
        return of_length_1(q), of_length_1(k), v

    def _decay_and_strength(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """log a and b, one of each per head."""
        dt, b = self.ab_proj(x).chunk(2, -1)
        return self._log_decay(dt), b.sigmoid()

    def _log_decay(self, dt: Tensor) -> Tensor:
        return -self.A_log_H.exp() * F.softplus(dt + self.dt_bias_H)

    def _out(self, o: Tensor, x: Tensor) -> Tensor:
        return self.out_proj(self.norm(o).flatten(-2) * F.silu(self.gate_proj(x)))


def gated_delta_rule(
    q_BxLxHxE: Float[Tensor, "b l h e"],
    k_BxLxHxE: Float[Tensor, "b l h e"],
    v_BxLxHxE: Float[Tensor, "b l h e"],
    log_a_BxLxH: Float[Tensor, "b l h"],
    b_BxLxH: Float[Tensor, "b l h"],
    s_BxHxExE: Float[Tensor, "b h e e"],
) -> tuple[Float[Tensor, "b l h e"], Float[Tensor, "b h e e"]]:
    """The outputs and the last state of `GatedDeltaMixer`'s recurrence from the state s, in chunks.

    Each token adds k_i u_i', where u_i = b_i (v_i - what k_i reads from the decayed state).  Within a chunk that starts
    from s, with g_i the product of the a's up to i, the u_i solve a unit lower triangular system:

        u_i + sum over j < i of b_i (g_i / g_j) (k_i . k_j) u_j  =  b_i v_i - b_i g_i s' k_i
    """
    length = q_BxLxHxE.shape[1]
    q, k, v = (in_chunks(t) for t in (q_BxLxHxE, k_BxLxHxE, v_BxLxHxE))
    log_a, b = (in_chunks(t_BxLxH[..., None]) for t_BxLxH in (log_a_BxLxH, b_BxLxH))
    ratio_IxJ = decays_between(log_a)[..., 0]
    g_NxBxHxCx1 = log_a.cumsum(3).exp()
    system_IxJ = b * (k @ k.mT) * ratio_IxJ  # only the part below its diagonal is read
    from_v, from_s = torch.linalg.solve_triangular(
        system_IxJ, torch.cat([b * v, b * g_NxBxHxCx1 * k], -1), upper=False, unitriangular=True
    ).chunk(2, -1)
    scores_IxJ = (q @ k.mT) * ratio_IxJ
    q_in, k_out = q * g_NxBxHxCx1, k * ratio_IxJ[..., -1, :, None]
    outputs = []
    for n in range(len(q)):
        u_BxHxCxE = from_v[n] - from_s[n] @ s_BxHxExE
        outputs.append(q_in[n] @ s_BxHxExE + scores_IxJ[n] @ u_BxHxCxE)
        s_BxHxExE = g_NxBxHxCx1[n, :, :, -1:] * s_BxHxExE + k_out[n].mT @ u_BxHxCxE
    o_BxLxHxE = torch.stack(outputs, 1).transpose(2, 3).flatten(1, 2)[:, :length]
    return o_BxLxHxE, s_BxHxExE


def of_length_1(t: Tensor) -> Tensor:
    """The vectors along the last axis, normalised to length 1."""
    return t * torch.rsqrt(t.square().sum(-1, keepdim=True) + 1e-6)
