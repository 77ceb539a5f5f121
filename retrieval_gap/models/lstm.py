"""LSTM: one pre-norm residual LSTM cell a layer; its state is (h, c), whatever the context.

Axes: B batch, L time, D model width.
Source: Hochreiter and Schmidhuber 1997; the residual stack is ours (the paper has no LSTM).
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from retrieval_gap.models.mixer import Mixer, Residual, State

LONGEST_MEMORY = 512


@dataclass(frozen=True, kw_only=True)
class LSTM:
    """A stack of `n_layers` LSTM cells of width `d_model`."""

    d_model: int
    n_layers: int

    def layers(self) -> list[Residual]:
        return [Residual(self.d_model, LSTMMixer(self.d_model)) for _ in range(self.n_layers)]


SIZES = {
    "tiny": LSTM(d_model=64, n_layers=3),
    "0.5m": LSTM(d_model=128, n_layers=4),
    "1m": LSTM(d_model=128, n_layers=8),
    "2m": LSTM(d_model=256, n_layers=4),
}


class LSTMMixer(Mixer):
    """One LSTM cell over time.

    Weights start uniform, as in torch; the gates' biases by "chrono" initialisation (Tallec and Ollivier 2018, arXiv
    1804.11188, section 2): each unit forgets at a rate of one over 1 to LONGEST_MEMORY tokens.  Without it an LSTM
    does not learn to count over a trace of hundreds of tokens.
    """

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(d_model, d_model, batch_first=True)
        bias = {name: p for name, p in self.lstm.named_parameters() if name.startswith("bias")}
        with torch.no_grad():
            forget_D = torch.empty(d_model).uniform_(1, LONGEST_MEMORY - 1).log()
            bias["bias_ih_l0"][: 2 * d_model] = torch.cat([-forget_D, forget_D])  # gates i, f
            bias["bias_hh_l0"][: 2 * d_model] = 0.0

    def init_state(self, batch: int) -> tuple[Tensor, Tensor]:
        weight = next(self.lstm.parameters())
        empty_BxD = weight.new_zeros(batch, self.lstm.hidden_size)
        return empty_BxD, empty_BxD

    def prefill(self, x_BxLxD: Float[Tensor, "b l d"], state: State) -> tuple[Float[Tensor, "b l d"], State]:
        h_BxD, c_BxD = state
        y_BxLxD, (h_1xBxD, c_1xBxD) = self.lstm(x_BxLxD, (h_BxD[None], c_BxD[None]))
        return y_BxLxD, (h_1xBxD[0], c_1xBxD[0])
