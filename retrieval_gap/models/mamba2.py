"""Mamba-2: state space duality, optionally with the rotating states of Mamba-3; the state is (conv window, one matrix
per head).

Axes: B batch, L time, D model width, I inner width (2D), H heads, P channels per head, N states per channel, R rotated
pairs of states (N / 2), F channels of the convolution (I + 2N), W conv width.

Source: Dao and Gu 2024 (arXiv 2405.21060), sections 6 and 7: h_t = exp(dt_t A) h_{t-1} + dt_t B_t x_t', y_t = C_t' h_t
+ D x_t, with one decay per head and B and C shared by the heads; then gate and norm.  With `rotation=data` each pair of
states also rotates by dt_t times an angle computed from the token, which is a complex decay (Mamba-3, ICLR 2026, its
"data-dependent rotary embedding"): such a state can track parity, one that only decays cannot.  It is no larger.
Sizes are ours, with about as many parameters as the other architectures."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from retrieval_gap.about import About
from retrieval_gap.kernels.causal_conv1d import causal_conv1d, causal_conv1d_step
from retrieval_gap.models.gla import decays_between, in_chunks
from retrieval_gap.models.mixer import Mixer, Residual, RMSNorm, State
from retrieval_gap.models.short_conv import with_conv
from retrieval_gap.models.step_cost import Count, Work

D_STATE, D_HEAD, D_CONV, EXPAND = 16, 32, 4, 2
DT_MIN, DT_MAX, LARGEST_A = 1e-3, 1e-1, 16.0
ROTATIONS = ("none", "data")


@dataclass(frozen=True, kw_only=True)
class Mamba2:
    """A stack of `n_layers` Mamba-2 layers.

    rotation: `none`, or `data`: the token rotates the states; None is `none`.  conv: width of a short convolution
    before each, besides Mamba-2's own; None: no convolution.
    """

    d_model: int
    n_layers: int
    d_state: int = D_STATE
    rotation: str | None = None
    conv: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "rotation", None if self.rotation == "none" else self.rotation)

    def layers(self) -> list[Residual]:
        mixers = (Mamba2Mixer(self.d_model, self.d_state, self.rotation or "none") for _ in range(self.n_layers))
        return [Residual(self.d_model, with_conv(mixer, self.d_model, self.conv)) for mixer in mixers]


ABOUT = About(name="Mamba-2", state="fixed", slot=8)
SIZES = {
    "tiny": Mamba2(d_model=64, n_layers=3, d_state=56),
    "0.5m": Mamba2(d_model=128, n_layers=5),
    "1m": Mamba2(d_model=128, n_layers=10),
    "2m": Mamba2(d_model=128, n_layers=20),
}


class Mamba2Mixer(Mixer):
    """Gated, normalised state space duality.

    Raises ValueError if D_HEAD does not divide the inner width, for an odd number of states, or an unknown rotation.
    """

    def __init__(self, d_model: int, d_state: int = D_STATE, rotation: str = "none") -> None:
        super().__init__()
        d_inner = EXPAND * d_model
        if d_inner % D_HEAD or d_state % 2:
            raise ValueError(
                f"d_model = {d_model} does not split into heads of {D_HEAD}, or d_state = {d_state} is odd"
            )
        if rotation not in ROTATIONS:
            raise ValueError(f"unknown rotation {rotation!r} (choose from {', '.join(ROTATIONS)})")
        self.n_heads, self.d_state, self.d_inner = d_inner // D_HEAD, d_state, d_inner
        channels = d_inner + 2 * d_state
        self.in_proj = nn.Linear(d_model, d_inner + channels + self.n_heads, bias=False)  # z; x, B, C; dt
        self.conv_weight_FxW = nn.Parameter(torch.empty(channels, D_CONV).uniform_(-(D_CONV**-0.5), D_CONV**-0.5))
        self.conv_bias_F = nn.Parameter(torch.zeros(channels))
        dt_H = torch.empty(self.n_heads).uniform_(math.log(DT_MIN), math.log(DT_MAX)).exp()
        self.dt_bias_H = nn.Parameter(dt_H + torch.log(-torch.expm1(-dt_H)))  # the inverse of softplus
        self.A_log_H = nn.Parameter(torch.empty(self.n_heads).uniform_(1, LARGEST_A).log())
        self.D_H = nn.Parameter(torch.ones(self.n_heads))
        self.norm = RMSNorm(d_inner)
        self.out_proj = nn.Linear(d_inner, d_model, bias=False)
        self.angle_proj = nn.Linear(d_model, d_state // 2) if rotation == "data" else None

    def init_state(self, batch: int) -> tuple[Tensor, Tensor]:
        weight = self.conv_weight_FxW
        return (
            weight.new_zeros(batch, D_CONV - 1, len(weight)),
            weight.new_zeros(batch, self.n_heads, self.d_state, D_HEAD),
        )

    def work(self, context: Count) -> Work:
        """Five operations per state (decay, B times the input, their sum, two for C h), three more if states rotate;
        two per tap of the convolution."""
        channels, states = len(self.conv_weight_FxW), self.d_inner * self.d_state
        turning = 3 * states if self.angle_proj is not None else 0
        flops = 5 * states + turning + 2 * D_CONV * channels
        return Work(flops=flops, floats=2 * channels + 3 * self.d_inner, kernels=3)

    def prefill(self, x_BxLxD: Float[Tensor, "b l d"], state: State) -> tuple[Float[Tensor, "b l d"], State]:
        window_BxWxF, h_BxHxNxP = state
        z, xbc, dt = self._project(x_BxLxD)
        xbc, window_BxWxF = causal_conv1d(xbc, self.conv_weight_FxW, self.conv_bias_F, initial_state_BxKxD=window_BxWxF)
        u, b, c = self._heads(xbc)
        turn_BxLxHxR = self._turns(x_BxLxD, dt)
        b, c = (t[..., None, :].expand(*t.shape[:2], self.n_heads, -1) for t in (b, c))
        if turn_BxLxHxR is not None:
            angle_BxLxHxR = turn_BxLxHxR.cumsum(1)
            b, c = turned(b, -angle_BxLxHxR), turned(c, -angle_BxLxHxR)
        y_BxLxHxP, h_BxHxNxP = state_space_duality(c, b, dt[..., None] * u, -self.A_log_H.exp() * dt, h_BxHxNxP)
        if turn_BxLxHxR is not None:  # take the state out of the rotating frame
            h_BxHxNxP = turned(h_BxHxNxP.mT, angle_BxLxHxR[:, -1, :, None]).mT
        return self._out(y_BxLxHxP + self.D_H[:, None] * u, z), (window_BxWxF, h_BxHxNxP)

    def step(self, x_BxD: Float[Tensor, "b d"], state: State) -> tuple[Float[Tensor, "b d"], State]:
        window_BxWxF, h_BxHxNxP = state
        z, xbc, dt = self._project(x_BxD)
        xbc, window_BxWxF = causal_conv1d_step(xbc, self.conv_weight_FxW, self.conv_bias_F, window_BxWxF)
        u, b, c = self._heads(xbc)
        turn_BxHxR = self._turns(x_BxD, dt)
        if turn_BxHxR is not None:
            h_BxHxNxP = turned(h_BxHxNxP.mT, turn_BxHxR[:, :, None]).mT
        decay_BxH = (-self.A_log_H.exp() * dt).exp()
        brought_BxHxNxP = b[:, None, :, None] * (dt[..., None] * u)[..., None, :]
        h_BxHxNxP = decay_BxH[..., None, None] * h_BxHxNxP + brought_BxHxNxP
        y_BxHxP = (c[:, None, None] @ h_BxHxNxP)[..., 0, :]
        return self._out(y_BxHxP + self.D_H[:, None] * u, z), (window_BxWxF, h_BxHxNxP)

    def _project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The gate, the input of the convolution, and the step size of each head."""
        channels = self.d_inner + 2 * self.d_state
        z, xbc, dt = self.in_proj(x).split([self.d_inner, channels, self.n_heads], -1)
        return z, xbc, F.softplus(dt + self.dt_bias_H)

    def _heads(self, xbc: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The inputs of the heads; B and C."""
        u, b, c = xbc.split([self.d_inner, self.d_state, self.d_state], -1)
        return u.unflatten(-1, (self.n_heads, D_HEAD)), b, c

    def _turns(self, x: Tensor, dt: Tensor) -> Tensor | None:
        """The angle by which a token rotates each pair of states of a head; None without rotation."""
        return None if self.angle_proj is None else dt[..., None] * self.angle_proj(x)[..., None, :]

    def _out(self, y: Tensor, z: Tensor) -> Tensor:
        return self.out_proj(self.norm(y.flatten(-2) * F.silu(z)))


def turned(t: Float[Tensor, "... n"], angle: Float[Tensor, "... r"]) -> Float[Tensor, "... n"]:
    """Each pair (i, i + N / 2) of the last axis, rotated by its angle."""
    first, second = t.chunk(2, -1)
    cos, sin = angle.cos(), angle.sin()
    return torch.cat([first * cos - second * sin, second * cos + first * sin], -1)


def state_space_duality(
    c_BxLxHxN: Float[Tensor, "b l h n"],
    b_BxLxHxN: Float[Tensor, "b l h n"],
    u_BxLxHxP: Float[Tensor, "b l h p"],
    log_a_BxLxH: Float[Tensor, "b l h"],
    h_BxHxNxP: Float[Tensor, "b h n p"],
) -> tuple[Float[Tensor, "b l h p"], Float[Tensor, "b h n p"]]:
    """h_t = a_t h_{t-1} + b_t u_t', y_t = c_t' h_t from the state h, in chunks: the outputs, and the last h."""
    length = c_BxLxHxN.shape[1]
    c, b, u, log_a = (in_chunks(t) for t in (c_BxLxHxN, b_BxLxHxN, u_BxLxHxP, log_a_BxLxH[..., None]))
    ratio_IxJ = decays_between(log_a)[..., 0]
    since_start_NxBxHxCx1 = log_a.cumsum(3).exp()
    brought = (b * ratio_IxJ[..., -1, :, None]).mT @ u
    carried = []
    for n in range(len(c)):
        carried.append(h_BxHxNxP)
        h_BxHxNxP = since_start_NxBxHxCx1[n, :, :, -1:] * h_BxHxNxP + brought[n]
    y = ((c @ b.mT) * ratio_IxJ) @ u + (c * since_start_NxBxHxCx1) @ torch.stack(carried)
    return y.permute(1, 0, 3, 2, 4).flatten(1, 2)[:, :length], h_BxHxNxP
