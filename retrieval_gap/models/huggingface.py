"""Convert weights to and from the public implementations: `LlamaForCausalLM`, `MambaForCausalLM`.

Only names and layouts are mapped, so this does not need `transformers`; the configuration there must have our sizes
and `rms_norm_eps` / `layer_norm_epsilon` of 1e-5.
"""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from retrieval_gap.models.attention import CausalAttention, SwiGLU
from retrieval_gap.models.mamba import MambaMixer
from retrieval_gap.models.mixer import Residual
from retrieval_gap.models.model import SequenceModel

# ours -> theirs; where several are listed, they are equal parts of ours along the first axis
ATTENTION = {
    "mixer.qkv_proj.weight": (
        "self_attn.q_proj.weight",
        "self_attn.k_proj.weight",
        "self_attn.v_proj.weight",
    ),
    "mixer.o_proj.weight": ("self_attn.o_proj.weight",),
    "norm.weight": ("input_layernorm.weight",),
}
SWIGLU = {
    "mixer.gate_up_proj.weight": ("mlp.gate_proj.weight", "mlp.up_proj.weight"),
    "mixer.down_proj.weight": ("mlp.down_proj.weight",),
    "norm.weight": ("post_attention_layernorm.weight",),
}
MAMBA = {
    "mixer.in_proj.weight": ("mixer.in_proj.weight",),
    "mixer.conv_weight_IxK": ("mixer.conv1d.weight",),
    "mixer.conv_bias_I": ("mixer.conv1d.bias",),
    "mixer.x_proj.weight": ("mixer.x_proj.weight",),
    "mixer.dt_proj.weight": ("mixer.dt_proj.weight",),
    "mixer.dt_proj.bias": ("mixer.dt_proj.bias",),
    "mixer.A_log_IxN": ("mixer.A_log",),
    "mixer.D_I": ("mixer.D",),
    "mixer.out_proj.weight": ("mixer.out_proj.weight",),
    "norm.weight": ("norm.weight",),
}
CONV_WEIGHT = "conv1d.weight"  # theirs has an axis of length 1 in the middle


def to_huggingface(model: SequenceModel) -> dict[str, Tensor]:
    """The public state dict with the weights of a Transformer or a Mamba.  Raises ValueError for other models."""
    ours, theirs = model.state_dict(), {}
    for name, names in _pairs(model):
        for part, other in zip(ours[name].chunk(len(names)), names, strict=True):
            theirs[other] = (part.unsqueeze(1) if other.endswith(CONV_WEIGHT) else part).clone()
    return theirs


@torch.no_grad()
def from_huggingface(model: SequenceModel, theirs: dict[str, Tensor]) -> None:
    """Fill a Transformer or a Mamba of the same sizes from a public state dict.

    Raises ValueError for other models, KeyError for a missing tensor.
    """
    ours = model.state_dict()
    for name, names in _pairs(model):
        ours[name].copy_(torch.cat([theirs[other] for other in names]).view_as(ours[name]))


def _pairs(model: SequenceModel) -> Iterator[tuple[str, tuple[str, ...]]]:
    kinds = [type(layer.mixer) for layer in model.layers if isinstance(layer, Residual)]
    if kinds == [CausalAttention, SwiGLU] * (len(kinds) // 2):
        yield "embedding.weight", ("model.embed_tokens.weight",)
        yield "embedding.weight", ("lm_head.weight",)
        yield "norm.weight", ("model.norm.weight",)
        for i in range(len(kinds)):
            yield from _layer(f"layers.{i}", f"model.layers.{i // 2}", SWIGLU if i % 2 else ATTENTION)
    elif set(kinds) == {MambaMixer}:
        yield "embedding.weight", ("backbone.embeddings.weight",)
        yield "embedding.weight", ("lm_head.weight",)
        yield "norm.weight", ("backbone.norm_f.weight",)
        for i in range(len(kinds)):
            yield from _layer(f"layers.{i}", f"backbone.layers.{i}", MAMBA)
    else:
        raise ValueError("only a stack of LLaMA blocks or of Mamba layers has a public counterpart")


def _layer(ours: str, theirs: str, names: Mapping[str, tuple[str, ...]]) -> Iterator[tuple[str, tuple[str, ...]]]:
    for name, others in names.items():
        yield f"{ours}.{name}", tuple(f"{theirs}.{other}" for other in others)
