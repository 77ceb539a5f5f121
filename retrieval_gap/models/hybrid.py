"""Hybrid: Mamba layers, then ONE LLaMA block (definition 5.5 of "RNNs are not Transformers (Yet)")."""

from dataclasses import dataclass

from retrieval_gap.about import About
from retrieval_gap.models.mamba import D_STATE, Mamba
from retrieval_gap.models.mixer import Mixer
from retrieval_gap.models.positions import ROTARY
from retrieval_gap.models.transformer import Transformer


@dataclass(frozen=True, kw_only=True)
class Hybrid:
    """`n_layers` Mamba layers and one LLaMA block on top.

    positions: the block's position encoding, see positions.py; None is rotary.  conv: width of a short convolution
    before every mixer but SwiGLU; None: no convolution.
    """

    d_model: int
    n_layers: int
    d_ff: int = 256
    n_heads: int = 4
    d_state: int = D_STATE
    positions: str | None = None
    conv: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "positions", None if self.positions == ROTARY else self.positions)

    def layers(self) -> list[Mixer]:
        mamba = Mamba(d_model=self.d_model, n_layers=self.n_layers, d_state=self.d_state, conv=self.conv)
        block = Transformer(
            d_model=self.d_model,
            d_ff=self.d_ff,
            n_layers=1,
            n_heads=self.n_heads,
            positions=self.positions,
            conv=self.conv,
        )
        return [*mamba.layers(), *block.layers()]


ABOUT = About(name="Hybrid", state="grows", slot=1)
SIZES = {
    "tiny": Hybrid(d_model=64, n_layers=2, d_ff=96),
    "0.5m": Hybrid(d_model=64, n_layers=12),
    "1m": Hybrid(d_model=128, n_layers=7),
    "2m": Hybrid(d_model=128, n_layers=14),
}
