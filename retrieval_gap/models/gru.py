"""GRU: one pre-norm residual GRU cell per layer; its state is h, whatever the context.

Axes: B batch, L time, D model width.
Source: Cho et al. 2014 (arXiv 1406.1078) section 2.3, with the reset gate applied after its matrix, as in torch and
cuDNN; the residual stack is ours.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from retrieval_gap.about import About
from retrieval_gap.models.binary import BinaryMixer
from retrieval_gap.models.lstm import LONGEST_MEMORY
from retrieval_gap.models.mixer import Mixer, Residual, State
from retrieval_gap.models.short_conv import with_conv
from retrieval_gap.models.step_cost import Count, Work


@dataclass(frozen=True, kw_only=True)
class GRU:
    """A stack of `n_layers` GRU cells of width `d_model`.

    conv: width of a short convolution before each; None: no convolution.
    bits: each layer's state is this many bits, see binary.py; None: floats.  shift: units that these bits move on by
    with each token; None: each stays in its place.  `layers` raises ValueError for a shift without bits, or not less
    than them.
    """

    d_model: int
    n_layers: int
    conv: int | None = None
    bits: int | None = None
    shift: int | None = None

    def layers(self) -> list[Residual]:
        if self.shift is not None and self.bits is None:
            raise ValueError(f"shift = {self.shift} is of a state of bits: give bits too")
        mixers = [
            GRUMixer(self.d_model) if self.bits is None else BinaryMixer(self.d_model, self.bits, self.shift or 0)
            for _ in range(self.n_layers)
        ]
        return [Residual(self.d_model, with_conv(mixer, self.d_model, self.conv)) for mixer in mixers]


ABOUT = About(name="GRU", state="fixed", slot=4)
SIZES = {
    "tiny": GRU(d_model=64, n_layers=4),
    "0.5m": GRU(d_model=120, n_layers=6),
    "1m": GRU(d_model=120, n_layers=12),
    "2m": GRU(d_model=240, n_layers=6),
}


class GRUMixer(Mixer):
    """h = (1 - z) n + z h: reset r, update z and candidate n from (x, h).

    Weights start uniform, as in torch; the update gate's bias by "chrono" initialisation (Tallec and Ollivier 2018,
    arXiv 1804.11188, section 2): each unit forgets with a time constant of 1 to LONGEST_MEMORY tokens.
    """

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.gru = nn.GRU(d_model, d_model, batch_first=True)
        update = slice(d_model, 2 * d_model)  # torch's order is r, z, n
        bias = {name: p for name, p in self.gru.named_parameters() if name.startswith("bias")}
        with torch.no_grad():
            bias["bias_ih_l0"][update] = torch.empty(d_model).uniform_(1, LONGEST_MEMORY - 1).log()
            bias["bias_hh_l0"][update] = 0.0

    def init_state(self, batch: int) -> tuple[Tensor]:
        weight = next(self.gru.parameters())
        return (weight.new_zeros(batch, self.gru.hidden_size),)

    def work(self, context: Count) -> Work:
        """No more work: the gates are part of the cell's kernel, and cost little beside its matrices."""
        return Work()

    def prefill(self, x_BxLxD: Float[Tensor, "b l d"], state: State) -> tuple[Float[Tensor, "b l d"], State]:
        (h_BxD,) = state
        y_BxLxD, h_1xBxD = self.gru(x_BxLxD, h_BxD[None])
        return y_BxLxD, (h_1xBxD[0],)
