"""A gated recurrent layer with a binary state: between tokens each unit is -1 or 1, in training and in decoding.

Axes: B batch, L time, D model width, K bits.
Sources: stochastic binary units with a straight-through gradient, Bengio et al. 2013 (arXiv 1308.3432); the update gate
is the GRU's (Cho et al. 2014, arXiv 1406.1078, section 2.3).  That gate and candidate come from a hidden layer over
token and state, so that the next bits can be any function of both, and that bits may move along, are ours.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from retrieval_gap.models.mixer import Mixer, State

GATE_BIAS = 2.0  # a bit is kept with probability 0.88 at first, before the candidate has its say
LOW_DIGITS = 8192.0  # a mean times this, modulo 2, is its random number


class BinaryMixer(Mixer):
    """h = sign(z P h + (1 - z) tanh(n)): gate z, candidate n and the output from a hidden layer over (x, h), D wide.

    In training h is randomly -1 or 1, with mean z P h + (1 - z) tanh(n), and the gradient is that of the mean: a bit
    that is kept passes z of it on.  The state is K booleans.
    shift: P moves each bit on by so many units, in a circle, and the first units are written at the start: a queue.  0:
    each bit stays where it is.  Raises ValueError if that is not less than K.
    """

    def __init__(self, d_model: int, bits: int, shift: int = 0) -> None:
        super().__init__()
        if not 0 <= shift < bits:
            raise ValueError(f"shift = {shift} is not between 0 and {bits - 1}, for {bits} bits")
        self.shift = shift
        self.read_token = nn.Linear(d_model, d_model)
        self.read_state = nn.Linear(bits, d_model, bias=False)
        self.gates = nn.Linear(d_model, 2 * bits)
        with torch.no_grad():
            self.gates.bias[:bits] = GATE_BIAS
            self.gates.bias[:shift] = -GATE_BIAS
        self.out_proj = nn.Linear(d_model, d_model, bias=False)

    def init_state(self, batch: int) -> tuple[Tensor]:
        weight = self.read_state.weight
        return (torch.zeros(batch, weight.shape[1], dtype=torch.bool, device=weight.device),)

    def prefill(self, x_BxLxD: Float[Tensor, "b l d"], state: State) -> tuple[Float[Tensor, "b l d"], State]:
        h_BxK, hidden = torch.where(state[0], 1.0, -1.0).to(self.read_state.weight.dtype), []
        for token_BxD in self.read_token(x_BxLxD).unbind(1):
            hidden.append(F.silu(token_BxD + self.read_state(h_BxK)))
            z_BxK, n_BxK = self.gates(hidden[-1]).chunk(2, -1)
            mean_BxK = torch.lerp(n_BxK.tanh(), h_BxK.roll(self.shift, -1), z_BxK.sigmoid())
            h_BxK = self._rounded(mean_BxK.to(h_BxK.dtype))  # bfloat16 has no low digits
        return self.out_proj(torch.stack(hidden, 1)), (h_BxK > 0,)

    def _rounded(self, mean_BxK: Tensor) -> Tensor:
        """Round means to -1 or 1, in training with their low digits as random numbers: a resumed run then equals an
        uninterrupted one."""
        fixed_BxK = mean_BxK.detach()
        least_BxK = (LOW_DIGITS * fixed_BxK).remainder(2.0) - 1 if self.training else torch.zeros_like(fixed_BxK)
        return torch.where(fixed_BxK > least_BxK, 1.0, -1.0) + (mean_BxK - fixed_BxK)
