"""A layer of linear recurrence over named registers: h_t = A(x_t) h_(t-1) + b(x_t).

Axes: B batch, L time, T times of a chunk, S registers, D directions of the stream, G gates.
Source: the linear RNN of "RNNs are not Transformers (Yet)", section 3: A and b are functions of the input alone.  Here
A(x) = A_0 + sum over g of gate_g(x) A_g; the gates are forms over the stream (flags of the token).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor, nn

from retrieval_gap.theory.constructions.precision import EXACT, Precision, weight
from retrieval_gap.theory.constructions.residual_stream import Affine, ResidualStream

AT_ONCE = 64  # number of tokens whose A is held in memory


@dataclass(frozen=True)
class Register:
    """The update of a register: keep(h) + sum of gate(x) * form(h) + add(x), with h all registers one token ago.

    keep: a form over registers.  gated: pairs of a gate, a form over the stream, and a form over registers.
    add: a form over the stream.
    """

    keep: Affine = field(default_factory=Affine)
    gated: tuple[tuple[Affine, Affine], ...] = ()
    add: Affine = field(default_factory=Affine)


class Recurrence(nn.Module):
    """The layer; it writes all registers to the stream, with their values after the token."""

    def __init__(self, stream: ResidualStream, registers: Mapping[str, Register], precision: Precision) -> None:
        super().__init__()
        self.precision = precision
        own = ResidualStream(registers)
        gates: list[Affine] = []
        steps_GxSxS: list[Tensor] = []
        for s, register in enumerate(registers.values()):
            for gate, form in register.gated:
                if gate not in gates:
                    gates.append(gate)
                    steps_GxSxS.append(torch.zeros(len(registers), len(registers), dtype=EXACT))
                steps_GxSxS[gates.index(gate)][s] += own.rows([form])[0]
        empty_0xSxS = torch.zeros(0, len(registers), len(registers), dtype=EXACT)
        self.keep_SxS = weight(own.rows([register.keep for register in registers.values()]), precision)
        self.add_SxD = weight(stream.rows([register.add for register in registers.values()]), precision)
        self.gate_GxD = weight(stream.rows(gates), precision)
        self.gated_GxSxS = weight(torch.stack(steps_GxSxS) if gates else empty_0xSxS, precision)
        for name in registers:
            stream.add(name)

    def init_state(self, batch: int) -> Tensor:
        return self.keep_SxS.new_zeros(batch, len(self.keep_SxS))

    def forward(self, x_BxLxD: Float[Tensor, "b l d"], h_BxS: Tensor) -> tuple[Float[Tensor, "b l e"], Tensor]:
        """The stream with the registers appended, and the registers after the last token."""
        rounded, after = self.precision.round, []
        add_BxLxS = rounded(x_BxLxD @ self.add_SxD.T)
        gate_BxLxG = rounded(x_BxLxD @ self.gate_GxD.T)
        for add_BxTxS, gate_BxTxG in zip(add_BxLxS.split(AT_ONCE, 1), gate_BxLxG.split(AT_ONCE, 1), strict=True):
            gated_BxTxSxS = (gate_BxTxG @ self.gated_GxSxS.flatten(1)).unflatten(-1, self.keep_SxS.shape)
            step_BxTxSxS = rounded(self.keep_SxS + gated_BxTxSxS)
            for add_BxS, step_BxSxS in zip(add_BxTxS.unbind(1), step_BxTxSxS.unbind(1), strict=True):
                h_BxS = rounded(torch.baddbmm(add_BxS[..., None], step_BxSxS, h_BxS[..., None])[..., 0])
                after.append(h_BxS)
        return torch.cat([x_BxLxD, torch.stack(after, 1)], -1), h_BxS
