"""Hybrid: Mamba layers, then ONE LLaMA block (definition 5.5 of "RNNs are not Transformers (Yet)")."""

from dataclasses import dataclass

from retrieval_gap.about import About
from retrieval_gap.models.mamba import D_STATE, Mamba
from retrieval_gap.models.mixer import Residual
from retrieval_gap.models.transformer import llama_block


@dataclass(frozen=True, kw_only=True)
class Hybrid:
    """`n_layers` Mamba layers and one LLaMA block on top."""

    d_model: int
    n_layers: int
    d_ff: int = 256
    n_heads: int = 4
    d_state: int = D_STATE

    def layers(self) -> list[Residual]:
        mamba = Mamba(d_model=self.d_model, n_layers=self.n_layers, d_state=self.d_state)
        return mamba.layers() + llama_block(self.d_model, self.d_ff, self.n_heads)


ABOUT = About(name="Hybrid", state="grows", slot=1)
SIZES = {
    "tiny": Hybrid(d_model=64, n_layers=2, d_ff=96),
    "0.5m": Hybrid(d_model=64, n_layers=12),
    "1m": Hybrid(d_model=128, n_layers=7),
    "2m": Hybrid(d_model=128, n_layers=14),
}
