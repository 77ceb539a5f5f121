"""A short convolution before any mixer: x + conv(x), causal, one filter per channel.

Axes: B batch, L time, D model width, W filter width. Source: the residual convolutions of "Physics of Language Models:
Part 4.1" (Allen-Zhu 2025, SSRN 5240330), its layers "Canon-A", which have no activation.  Filters of zero leave the
mixer unchanged.  With it, one layer can compare a token with the one before, which attention alone cannot (Okpekpe and
Orvieto 2025, arXiv 2508.19029)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from retrieval_gap.kernels.causal_conv1d import causal_conv1d, causal_conv1d_step
from retrieval_gap.models.mixer import Mixer, State

WIDEST = 16


class ShortConv(Mixer):
    """mixer(x + conv(x)); its state is the last `width` - 1 inputs, and the mixer's.

    Raises ValueError for a width outside 2..WIDEST.
    """

    def __init__(self, d_model: int, width: int, mixer: Mixer) -> None:
        super().__init__()
        if not 2 <= width <= WIDEST:
            raise ValueError(f"conv = {width} is outside 2..{WIDEST}")
        self.mixer = mixer
        self.weight_DxW = nn.Parameter(torch.empty(d_model, width).uniform_(-(width**-0.5), width**-0.5))
        self.bias_D = nn.Parameter(torch.zeros(d_model))

    def init_state(self, batch: int) -> State:
        return self._window(batch), self.mixer.init_state(batch)

    def static_state(self, batch: int, capacity: int, position: Tensor) -> State:
        return self._window(batch), self.mixer.static_state(batch, capacity, position)

    def forward(self, x_BxLxD: Float[Tensor, "b l d"]) -> Float[Tensor, "b l d"]:
        return self.mixer(self.convolved(x_BxLxD))

    def convolved(self, x_BxLxD: Float[Tensor, "b l d"]) -> Float[Tensor, "b l d"]:
        """x + conv(x), the mixer's input."""
        return x_BxLxD + causal_conv1d(x_BxLxD, self.weight_DxW, self.bias_D, with_silu=False)[0]

    def prefill(self, x_BxLxD: Float[Tensor, "b l d"], state: State) -> tuple[Float[Tensor, "b l d"], State]:
        window_BxWxD, inner = state
        y_BxLxD, window_BxWxD = causal_conv1d(
            x_BxLxD, self.weight_DxW, self.bias_D, initial_state_BxKxD=window_BxWxD, with_silu=False
        )
        y_BxLxD, inner = self.mixer.prefill(x_BxLxD + y_BxLxD, inner)
        return y_BxLxD, (window_BxWxD, inner)

    def step(self, x_BxD: Float[Tensor, "b d"], state: State) -> tuple[Float[Tensor, "b d"], State]:
        window_BxWxD, inner = state
        y_BxD, window_BxWxD = causal_conv1d_step(x_BxD, self.weight_DxW, self.bias_D, window_BxWxD, with_silu=False)
        y_BxD, inner = self.mixer.step(x_BxD + y_BxD, inner)
        return y_BxD, (window_BxWxD, inner)

    def _window(self, batch: int) -> Tensor:
        d_model, width = self.weight_DxW.shape
        return self.weight_DxW.new_zeros(batch, width - 1, d_model)


def with_conv(mixer: Mixer, d_model: int, width: int | None) -> Mixer:
    """The mixer after a convolution of that width; the mixer alone if it is None.

    Raises ValueError for an invalid width.
    """
    return mixer if width is None else ShortConv(d_model, width, mixer)
