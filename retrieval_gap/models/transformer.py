"""Transformer: LLaMA blocks (attention, then SwiGLU); its state is the KV cache, which grows with the context.

Sizes: "RNNs are not Transformers (Yet)", experiments on IsTree (d, ff, layers, heads); `tiny` is ours.
"""

from dataclasses import dataclass

from retrieval_gap.about import About
from retrieval_gap.models.attention import CausalAttention, SwiGLU
from retrieval_gap.models.mixer import Residual


@dataclass(frozen=True, kw_only=True)
class Transformer:
    """A stack of `n_layers` LLaMA blocks."""

    d_model: int
    d_ff: int
    n_layers: int
    n_heads: int

    def layers(self) -> list[Residual]:
        return [layer for _ in range(self.n_layers) for layer in llama_block(self.d_model, self.d_ff, self.n_heads)]


ABOUT = About(name="Transformer", state="grows", slot=0)
SIZES = {
    "tiny": Transformer(d_model=64, d_ff=96, n_layers=3, n_heads=4),
    "0.5m": Transformer(d_model=64, d_ff=256, n_layers=8, n_heads=4),
    "1m": Transformer(d_model=64, d_ff=256, n_layers=16, n_heads=4),
    "2m": Transformer(d_model=128, d_ff=256, n_layers=12, n_heads=4),
}


def llama_block(d_model: int, d_ff: int, n_heads: int) -> list[Residual]:
    """The two residual layers of one LLaMA block."""
    return [
        Residual(d_model, CausalAttention(d_model, n_heads)),
        Residual(d_model, SwiGLU(d_model, d_ff)),
    ]
