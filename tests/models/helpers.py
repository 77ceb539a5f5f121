"""Small models of every architecture, with weights that make every part matter."""

import torch

from retrieval_gap.models import Embedding, ModelConfig, SequenceModel
from retrieval_gap.models.gated_deltanet import GatedDeltaNet
from retrieval_gap.models.gated_deltaproduct import GatedDeltaProduct
from retrieval_gap.models.gla import GLA
from retrieval_gap.models.gru import GRU
from retrieval_gap.models.hybrid import Hybrid
from retrieval_gap.models.log_linear_gla import LogLinearGLA
from retrieval_gap.models.lstm import LSTM
from retrieval_gap.models.mamba import Mamba
from retrieval_gap.models.mamba2 import Mamba2
from retrieval_gap.models.transformer import Transformer

VOCAB = 23
SMALL = {
    "transformer": Transformer(d_model=32, d_ff=24, n_layers=2, n_heads=2),
    "mamba": Mamba(d_model=16, n_layers=2, d_state=4),
    "lstm": LSTM(d_model=16, n_layers=2),
    "narrow lstm": LSTM(d_model=16, n_layers=2, d_hidden=5),
    "hybrid": Hybrid(d_model=32, n_layers=1, d_ff=24, n_heads=2, d_state=4),
    "gru": GRU(d_model=16, n_layers=2),
    "binary gru": GRU(d_model=16, n_layers=2, bits=5),
    "gla": GLA(d_model=16, d_ff=24, n_layers=2, n_heads=2),
    "gated_deltanet": GatedDeltaNet(d_model=16, d_ff=24, n_layers=2, n_heads=2),
    "gated_deltaproduct": GatedDeltaProduct(d_model=16, d_ff=24, n_layers=2, n_heads=2, n_h=3),
    "mamba2": Mamba2(d_model=16, n_layers=2, d_state=4),
    "turning mamba2": Mamba2(d_model=16, n_layers=2, d_state=4, rotation="data"),
    "log_linear_gla": LogLinearGLA(d_model=16, d_ff=24, n_layers=2, n_heads=2),
    "transformer without positions": Transformer(d_model=32, d_ff=24, n_layers=2, n_heads=2, positions="none"),
    "alibi transformer": Transformer(d_model=32, d_ff=24, n_layers=2, n_heads=2, positions="alibi"),
    "offset transformer": Transformer(d_model=32, d_ff=24, n_layers=2, n_heads=2, positions="random_offsets"),
    "transformer with conv": Transformer(d_model=32, d_ff=24, n_layers=2, n_heads=2, conv=4),
    "lstm with conv": LSTM(d_model=16, n_layers=2, conv=3),
    "hybrid with conv": Hybrid(d_model=32, n_layers=1, d_ff=24, n_heads=2, d_state=4, conv=4, positions="alibi"),
}


def small_model(name: str, embedding: Embedding = "sinusoidal", vocab_size: int = VOCAB) -> SequenceModel:
    """A model whose weights are large enough that no part of it is close to zero."""
    model = SequenceModel(ModelConfig(architecture=SMALL[name], vocab_size=vocab_size, embedding=embedding))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad and parameter.ndim == 2:
                parameter += 0.2 * torch.randn(parameter.shape, generator=generator)
    return model.eval()  # in training, offset positions begin at random; here they do not


def random_tokens(batch: int, length: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, VOCAB, (batch, length), generator=torch.Generator().manual_seed(seed))
