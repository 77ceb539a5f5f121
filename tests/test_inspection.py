"""The attention weights shown are those that the layer uses, for every kind of attention layer.

Axes: B batch (1), L time, D model width, H heads.
"""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from retrieval_gap.inspection import attention_weights
from retrieval_gap.models import ModelConfig, SequenceModel, architecture
from retrieval_gap.models.attention import CausalAttention
from retrieval_gap.models.mixer import Residual
from retrieval_gap.models.positions import POSITIONS
from retrieval_gap.models.short_conv import ShortConv
from retrieval_gap.tasks.api import PAD

UNREAD = (5, 17)
TOKENS_L = np.random.default_rng(0).integers(0, 20, 23)


def attention_of(layer: torch.nn.Module, x_BxLxD: torch.Tensor) -> tuple[CausalAttention, torch.Tensor] | None:
    """A layer's attention and the input of that attention; None if the layer has none."""
    if not isinstance(layer, Residual):
        return None
    mixer, read_BxLxD = layer.mixer, layer.norm(x_BxLxD)
    if isinstance(mixer, ShortConv):
        filters, width = mixer.weight_DxW[:, None], mixer.weight_DxW.shape[1]
        before = F.pad(read_BxLxD.mT, (width - 1, 0))
        read_BxLxD = read_BxLxD + F.conv1d(before, filters, mixer.bias_D, groups=len(filters)).mT
        mixer = mixer.mixer
    return (mixer, read_BxLxD) if isinstance(mixer, CausalAttention) else None


@pytest.mark.parametrize("conv", ["", "+conv=4"])
@pytest.mark.parametrize("positions", POSITIONS)
@pytest.mark.parametrize("name", ["transformer", "hybrid"])
@torch.no_grad()
def test_weights_times_values_are_what_each_layer_adds(name: str, positions: str, conv: str) -> None:
    chosen = architecture(name, f"tiny+positions={positions}{conv}")
    model = SequenceModel(ModelConfig(architecture=chosen, vocab_size=20, unread=UNREAD)).eval()
    shown = iter(attention_weights(model, TOKENS_L))
    read_L = np.where(np.isin(TOKENS_L, UNREAD), PAD, TOKENS_L)
    x_BxLxD = model.embedding(torch.as_tensor(read_L)[None])
    layers_with_attention = 0
    for layer in model.layers:
        y_BxLxD = layer(x_BxLxD)
        if found := attention_of(layer, x_BxLxD):
            attention, read_BxLxD = found
            values_HxLxE = attention.qkv_proj(read_BxLxD)[0].chunk(3, -1)[2].unflatten(-1, (attention.n_heads, -1))
            mixed_HxLxE = next(shown) @ values_HxLxE.transpose(0, 1)
            added_LxD = attention.o_proj(mixed_HxLxE.transpose(0, 1).flatten(1))
            torch.testing.assert_close(x_BxLxD[0] + added_LxD, y_BxLxD[0], rtol=1e-4, atol=1e-4)
            layers_with_attention += 1
        x_BxLxD = y_BxLxD
    assert layers_with_attention == (3 if name == "transformer" else 1)
    assert next(shown, None) is None
