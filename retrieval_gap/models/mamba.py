"""Mamba: selective state space layers; the state is (conv window, SSM state), whatever the context.

Axes: B batch, L time, D model width, I inner width (2D), N states per channel, R rank of delta, K conv width.
Source: Gu and Dao 2023 (arXiv 2312.00752), figure 3 and algorithm 2; initialisation as in the public code.
Sizes: "RNNs are not Transformers (Yet)", experiments on IsTree; `tiny` is ours.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from retrieval_gap.about import About
from retrieval_gap.kernels.causal_conv1d import causal_conv1d, causal_conv1d_step
from retrieval_gap.kernels.mamba import (
    MambaWeights,
    residual_mamba,
    residual_mamba_step,
    why_not_fused,
)
from retrieval_gap.kernels.selective_scan import ScanInputs, chosen_backend, selective_scan, selective_scan_step
from retrieval_gap.models.mixer import Mixer, Residual, RMSNorm, State
from retrieval_gap.models.short_conv import with_conv
from retrieval_gap.models.step_cost import Count, Work

D_STATE, D_CONV, EXPAND = 16, 4, 2
DT_MIN, DT_MAX, DT_FLOOR = 1e-3, 1e-1, 1e-4


@dataclass(frozen=True, kw_only=True)
class Mamba:
    """A stack of `n_layers` Mamba layers.

    conv: width of a short convolution before each, besides Mamba's own; None: no convolution.
    """

    d_model: int
    n_layers: int
    d_state: int = D_STATE
    conv: int | None = None

    def layers(self) -> list[Residual]:
        mixers = (MambaMixer(self.d_model, self.d_state, self.n_layers) for _ in range(self.n_layers))
        return [Residual(self.d_model, with_conv(mixer, self.d_model, self.conv)) for mixer in mixers]


ABOUT = About(name="Mamba", state="fixed", slot=2)
SIZES = {
    "tiny": Mamba(d_model=64, n_layers=3),
    "0.5m": Mamba(d_model=64, n_layers=16),
    "1m": Mamba(d_model=128, n_layers=10),
    "2m": Mamba(d_model=128, n_layers=18),
}


class MambaMixer(Mixer):
    """Gated selective scan.  `n_layers` scales down the initial output projection, as in the public code."""

    def __init__(self, d_model: int, d_state: int = D_STATE, n_layers: int = 1) -> None:
        super().__init__()
        d_inner, self.dt_rank, self.d_state = EXPAND * d_model, math.ceil(d_model / 16), d_state
        self.in_proj = nn.Linear(d_model, 2 * d_inner, bias=False)
        self.conv_weight_IxK = nn.Parameter(torch.empty(d_inner, D_CONV))
        self.conv_bias_I = nn.Parameter(torch.empty(d_inner))
        self.x_proj = nn.Linear(d_inner, self.dt_rank + 2 * d_state, bias=False)
        self.dt_proj = nn.Linear(self.dt_rank, d_inner)
        self.A_log_IxN = nn.Parameter(torch.arange(1.0, d_state + 1).log().repeat(d_inner, 1))
        self.D_I = nn.Parameter(torch.ones(d_inner))
        self.out_proj = nn.Linear(d_inner, d_model, bias=False)
        self._initialise(n_layers)

    @torch.no_grad()
    def _initialise(self, n_layers: int) -> None:
        bound = D_CONV**-0.5
        nn.init.uniform_(self.conv_weight_IxK, -bound, bound)
        nn.init.uniform_(self.conv_bias_I, -bound, bound)
        nn.init.uniform_(self.dt_proj.weight, -(self.dt_rank**-0.5), self.dt_rank**-0.5)
        log_dt_I = torch.empty_like(self.dt_proj.bias).uniform_(math.log(DT_MIN), math.log(DT_MAX))
        dt_I = log_dt_I.exp().clamp(min=DT_FLOOR)
        self.dt_proj.bias.copy_(dt_I + torch.log(-torch.expm1(-dt_I)))  # the inverse of softplus
        self.out_proj.weight.div_(math.sqrt(n_layers))

    def init_state(self, batch: int) -> tuple[Tensor, Tensor]:
        d_inner = self.D_I.shape[0]
        return (
            self.D_I.new_zeros(batch, D_CONV - 1, d_inner),
            self.D_I.new_zeros(batch, d_inner, self.d_state),
        )

    def work(self, context: Count) -> Work:
        """The scan takes 7 operations per state (step A, exp, decay h, step x B, their sum, two for C h) and 7 per
        channel (bias, softplus, step x, D x, their sum, silu z, gate), counting an elementary function as one."""
        d_inner, d_state = self.A_log_IxN.shape
        return Work(
            flops=d_inner * (2 * D_CONV + 7 * d_state + 7),
            floats=2 * d_inner + 4 * d_inner + 2 * d_state,
            kernels=2,
        )

    def residual(self, x_BxLxD: Float[Tensor, "b l d"], norm: RMSNorm) -> Float[Tensor, "b l d"]:
        weights = self._weights(norm)
        if not _is_fused(x_BxLxD, weights):
            return super().residual(x_BxLxD, norm)
        return residual_mamba(x_BxLxD, weights, norm.eps)[0]

    def residual_prefill(
        self, x_BxLxD: Float[Tensor, "b l d"], norm: RMSNorm, state: State
    ) -> tuple[Float[Tensor, "b l d"], State]:
        weights = self._weights(norm)
        if torch.is_grad_enabled() or not _is_fused(x_BxLxD, weights):
            return super().residual_prefill(x_BxLxD, norm, state)
        return residual_mamba(x_BxLxD, weights, norm.eps, state=state)

    def residual_step(
        self, x_BxD: Float[Tensor, "b d"], norm: RMSNorm, state: State
    ) -> tuple[Float[Tensor, "b d"], State]:
        weights = self._weights(norm)
        if torch.is_grad_enabled() or not _is_fused(x_BxD, weights):
            return super().residual_step(x_BxD, norm, state)
        return residual_mamba_step(x_BxD, weights, state, norm.eps)

    def _weights(self, norm: RMSNorm) -> MambaWeights:
        conv = (self.conv_weight_IxK, self.conv_bias_I)
        deltas = (self.x_proj.weight, self.dt_proj.weight, self.dt_proj.bias)
        A_IxN = -self.A_log_IxN.exp()
        return MambaWeights(norm.weight, self.in_proj.weight, *conv, *deltas, A_IxN, self.D_I, self.out_proj.weight)

    def prefill(self, x_BxLxD: Float[Tensor, "b l d"], state: State) -> tuple[Float[Tensor, "b l d"], State]:
        window_BxKxI, ssm_BxIxN = state
        u_BxLxI, z_BxLxI = self.in_proj(x_BxLxD).chunk(2, -1)
        u_BxLxI, window_BxKxI = causal_conv1d(
            u_BxLxI, self.conv_weight_IxK, self.conv_bias_I, initial_state_BxKxD=window_BxKxI
        )
        delta_BxLxI, b_BxLxN, c_BxLxN = self._delta_b_c(u_BxLxI)
        timed = (u_BxLxI, delta_BxLxI, -self.A_log_IxN.exp(), b_BxLxN, c_BxLxN)
        y_BxLxI, ssm_BxIxN = selective_scan(ScanInputs(*timed, self.D_I, z_BxLxI, self.dt_proj.bias, ssm_BxIxN))
        return self.out_proj(y_BxLxI), (window_BxKxI, ssm_BxIxN)

    def step(self, x_BxD: Float[Tensor, "b d"], state: State) -> tuple[Float[Tensor, "b d"], State]:
        window_BxKxI, ssm_BxIxN = state
        u_BxI, z_BxI = self.in_proj(x_BxD).chunk(2, -1)
        u_BxI, window_BxKxI = causal_conv1d_step(u_BxI, self.conv_weight_IxK, self.conv_bias_I, window_BxKxI)
        delta_BxI, b_BxN, c_BxN = self._delta_b_c(u_BxI)
        a_IxN = -self.A_log_IxN.exp()
        y_BxI, ssm_BxIxN = selective_scan_step(
            ScanInputs(u_BxI, delta_BxI, a_IxN, b_BxN, c_BxN, self.D_I, z_BxI, self.dt_proj.bias, ssm_BxIxN)
        )
        return self.out_proj(y_BxI), (window_BxKxI, ssm_BxIxN)

    def _delta_b_c(self, u: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Input-dependent delta (before bias and softplus), B and C."""
        dt, b, c = self.x_proj(u).split([self.dt_rank, self.d_state, self.d_state], -1)
        return F.linear(dt, self.dt_proj.weight), b, c


def _is_fused(x: Tensor, weights: MambaWeights) -> bool:
    """Whether the layer runs as one kernel; else its parts run, with the scan backend that `--scan-backend` sets."""
    return chosen_backend() in ("auto", "cpu") and why_not_fused(x, weights) is None
