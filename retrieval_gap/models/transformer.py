"""Transformer: LLaMA blocks (attention, then SwiGLU); its state is the KV cache, which grows with the context.

Options are the position encoding (`tiny+positions=alibi`, see positions.py), and a short convolution before attention
(`tiny+conv=4`, see short_conv.py).

Sizes: "RNNs are not Transformers (Yet)", experiments on IsTree (d, ff, layers, heads); `tiny` is ours.
"""

from dataclasses import dataclass

from retrieval_gap.about import About
from retrieval_gap.models.attention import with_swiglus
from retrieval_gap.models.mixer import Mixer
from retrieval_gap.models.positions import RANDOM_OFFSETS, ROTARY, OffsetPositions, attention_with


@dataclass(frozen=True, kw_only=True)
class Transformer:
    """A stack of `n_layers` LLaMA blocks.

    positions: see positions.py; None (default): rotary.  conv: width of a short convolution; None: no convolution.
    """

    d_model: int
    d_ff: int
    n_layers: int
    n_heads: int
    positions: str | None = None
    conv: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "positions", None if self.positions == ROTARY else self.positions)

    def layers(self) -> list[Mixer]:
        offsets = [OffsetPositions(self.d_model)] if self.positions == RANDOM_OFFSETS else []
        attentions = (
            attention_with(self.positions or ROTARY, self.d_model, self.n_heads) for _ in range(self.n_layers)
        )
        return [*offsets, *with_swiglus(attentions, self.d_model, self.d_ff, self.conv)]


ABOUT = About(name="Transformer", state="grows", slot=0)
SIZES = {
    "tiny": Transformer(d_model=64, d_ff=96, n_layers=3, n_heads=4),
    "0.5m": Transformer(d_model=64, d_ff=256, n_layers=8, n_heads=4),
    "1m": Transformer(d_model=64, d_ff=256, n_layers=16, n_heads=4),
    "2m": Transformer(d_model=128, d_ff=256, n_layers=12, n_heads=4),
}
