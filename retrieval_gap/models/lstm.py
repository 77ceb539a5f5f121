"""LSTM: one pre-norm residual LSTM cell per layer; its state is (h, c), whatever the context.

Axes: B batch, L time, D model width, H hidden width.
Source: Hochreiter and Schmidhuber 1997; the residual stack is ours (the paper has no LSTM).
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from retrieval_gap.about import About
from retrieval_gap.models.mixer import Mixer, Residual, State
from retrieval_gap.models.short_conv import with_conv
from retrieval_gap.models.step_cost import Count, Work

LONGEST_MEMORY = 512


@dataclass(frozen=True, kw_only=True)
class LSTM:
    """A stack of `n_layers` LSTM cells, `d_hidden` wide (None: as wide as the model).

    conv: width of a short convolution before each; None: no convolution.
    """

    d_model: int
    n_layers: int
    d_hidden: int | None = None
    conv: int | None = None

    def layers(self) -> list[Residual]:
        mixers = (LSTMMixer(self.d_model, self.d_hidden) for _ in range(self.n_layers))
        return [Residual(self.d_model, with_conv(mixer, self.d_model, self.conv)) for mixer in mixers]


ABOUT = About(name="LSTM", state="fixed", slot=3)
SIZES = {
    "tiny": LSTM(d_model=64, n_layers=3),
    "0.5m": LSTM(d_model=128, n_layers=4),
    "1m": LSTM(d_model=128, n_layers=8),
    "2m": LSTM(d_model=256, n_layers=4),
}


class LSTMMixer(Mixer):
    """One LSTM cell over time: cuDNN's on a GPU, in float32 whatever the precision of other matrix products.

    Weights start uniform, as in torch; the gates' biases by "chrono" initialisation (Tallec and Ollivier 2018, arXiv
    1804.11188, section 2): each unit forgets with a time constant of 1 to LONGEST_MEMORY tokens.  Without it an LSTM
    does not learn to count over a trace of hundreds of tokens.
    """

    def __init__(self, d_model: int, d_hidden: int | None = None) -> None:
        super().__init__()
        width = d_hidden or d_model
        self.lstm = nn.LSTM(d_model, width, batch_first=True)
        self.out_proj = nn.Identity() if d_hidden is None else nn.Linear(width, d_model, bias=False)
        bias = {name: p for name, p in self.lstm.named_parameters() if name.startswith("bias")}
        with torch.no_grad():
            forget_H = torch.empty(width).uniform_(1, LONGEST_MEMORY - 1).log()
            bias["bias_ih_l0"][: 2 * width] = torch.cat([-forget_H, forget_H])  # gates i, f
            bias["bias_hh_l0"][: 2 * width] = 0.0

    def init_state(self, batch: int) -> tuple[Tensor, Tensor]:
        weight = next(self.lstm.parameters())
        empty_BxH = weight.new_zeros(batch, self.lstm.hidden_size)
        return empty_BxH, empty_BxH

    def work(self, context: Count) -> Work:
        """No more work: the gates are part of the cell's kernel, and cost little beside its matrices."""
        return Work()

    def prefill(self, x_BxLxD: Float[Tensor, "b l d"], state: State) -> tuple[Float[Tensor, "b l d"], State]:
        h_BxH, c_BxH = state
        if torch.is_autocast_enabled(x_BxLxD.device.type):  # it would run cuDNN in float16
            with torch.autocast(x_BxLxD.device.type, enabled=False):
                return self.prefill(x_BxLxD.to(h_BxH.dtype), state)
        y_BxLxH, (h_1xBxH, c_1xBxH) = self.lstm(x_BxLxD, (h_BxH[None], c_BxH[None]))
        return self.out_proj(y_BxLxH), (h_1xBxH[0], c_1xBxH[0])
