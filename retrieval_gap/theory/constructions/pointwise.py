"""Layers of elementwise functions besides ReGLU, which an LSTM's step needs.

Axes: D directions, N written directions.

The proof of theorem 4.8 lets a Transformer's feed-forward part compute whatever the recurrent network's step computes.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from retrieval_gap.theory.constructions.precision import Precision, weight
from retrieval_gap.theory.constructions.residual_stream import Affine, ResidualStream

FunctionName = Literal["sigmoid", "tanh", "nearest", "step"]
FUNCTIONS: Mapping[FunctionName, Callable[[Tensor], Tensor]] = MappingProxyType(
    {"sigmoid": torch.sigmoid, "tanh": torch.tanh, "nearest": torch.round, "step": lambda x: (x > 0).to(x.dtype)}
)


class Pointwise(nn.Module):
    """One function of forms over the stream: logistic function, tanh, nearest whole number, or [x > 0]."""

    def __init__(
        self, stream: ResidualStream, function: FunctionName, writes: Mapping[str, Affine], precision: Precision
    ) -> None:
        super().__init__()
        self.precision, self.function = precision, function
        self.form_NxD = weight(stream.rows(list(writes.values())), precision)
        for name in writes:
            stream.add(name)

    def forward(self, x: Float[Tensor, "*b d"]) -> Float[Tensor, "*b e"]:
        """The stream, with the new directions appended."""
        rounded = self.precision.round
        return torch.cat([x, rounded(FUNCTIONS[self.function](rounded(x @ self.form_NxD.T)))], -1)
