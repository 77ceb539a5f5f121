"""A look into a model while it reads one sequence: its state after each token, and where its attention goes.

Axes: L time, H heads, D model width.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from retrieval_gap.models.attention import CausalAttention
from retrieval_gap.models.mixer import Residual, state_tensors
from retrieval_gap.models.model import SequenceModel
from retrieval_gap.models.short_conv import ShortConv


@torch.no_grad()
def states_after(model: SequenceModel, tokens_L: NDArray[np.integer]) -> list[list[Tensor]]:
    """The tensors of the state after each token, copied, without the axis of samples."""
    state, states = model.init_state(1), []
    for token in tokens_L:
        _, state = model.step(torch.tensor([int(token)], device=model.device), state)
        states.append([tensor[0].clone() for tensor in state_tensors(state)])
    return states


@torch.no_grad()
def attention_weights(model: SequenceModel, tokens_L: NDArray[np.integer]) -> list[Tensor]:
    """Of each attention layer, in order, the weights HxLxL: row i says where token i looks.  [] without attention."""
    x_1xLxD = model.embed(torch.as_tensor(np.asarray(tokens_L, np.int64), device=model.device)[None])
    weights = []
    for layer in model.layers:
        mixer, read_1xLxD = _innermost(layer, x_1xLxD)
        if isinstance(mixer, CausalAttention):
            weights.append(mixer.weights(read_1xLxD)[0])
        x_1xLxD = layer(x_1xLxD)
    return weights


def _innermost(layer: nn.Module, x_1xLxD: Tensor) -> tuple[nn.Module, Tensor]:
    """A layer's mixer, behind its norm and its short convolution, and what that reads where the layer reads x."""
    if isinstance(layer, Residual):
        return _innermost(layer.mixer, layer.norm(x_1xLxD))
    if isinstance(layer, ShortConv):
        return _innermost(layer.mixer, layer.convolved(x_1xLxD))
    return layer, x_1xLxD
