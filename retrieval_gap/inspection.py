"""Look into a model while it reads one sequence: its state after each token, and its attention weights.

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
    """Return copies of the state tensors after each token, without the axis of samples."""
    state, states = model.init_state(1), []
    for token in tokens_L:
        _, state = model.step(torch.tensor([int(token)], device=model.device), state)
        states.append([tensor[0].clone() for tensor in state_tensors(state)])
    return states


@torch.no_grad()
def attention_weights(model: SequenceModel, tokens_L: NDArray[np.integer]) -> list[Tensor]:
    """Return the weights HxLxL of each attention layer, in order: row i has those of token i.  [] without attention."""
    x_1xLxD = model.embed(torch.as_tensor(np.asarray(tokens_L, np.int64), device=model.device)[None])
    weights = []
    for layer in model.layers:
        mixer, read_1xLxD = _innermost(layer, x_1xLxD)
        if isinstance(mixer, CausalAttention):
            weights.append(mixer.weights(read_1xLxD)[0])
        x_1xLxD = layer(x_1xLxD)
    return weights


def _innermost(layer: nn.Module, x_1xLxD: Tensor) -> tuple[nn.Module, Tensor]:
    """Return a layer's mixer, inside its norm and short convolution, and the mixer's input when the layer reads x."""
    if isinstance(layer, Residual):
        return _innermost(layer.mixer, layer.norm(x_1xLxD))
    if isinstance(layer, ShortConv):
        return _innermost(layer.mixer, layer.convolved(x_1xLxD))
    return layer, x_1xLxD
