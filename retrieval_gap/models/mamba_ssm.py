"""Convert weights to and from the public package `mamba_ssm`: the names that its `MambaLMHeadModel` saves.

Source: `MixerModel` and `MambaLMHeadModel` in mamba_ssm/models/mixer_seq_simple.py of github.com/state-spaces/mamba.
The names are those of Hugging Face's `MambaForCausalLM`, except the embedding, which that class renames when it loads
a checkpoint of the package. Their model must be built with our sizes, `rms_norm`, and `pad_vocab_size_multiple` = 1.
"""

from torch import Tensor

from retrieval_gap.models.huggingface import from_huggingface, to_huggingface
from retrieval_gap.models.model import SequenceModel

THEIRS, HUGGING_FACE = "backbone.embedding.weight", "backbone.embeddings.weight"


def to_mamba_ssm(model: SequenceModel) -> dict[str, Tensor]:
    """The package's state dict with the weights of a Mamba.  Raises ValueError for other models."""
    theirs = to_huggingface(model)
    if HUGGING_FACE not in theirs:
        raise ValueError("only a stack of Mamba layers has a counterpart in mamba_ssm")
    return {THEIRS if name == HUGGING_FACE else name: tensor for name, tensor in theirs.items()}


def from_mamba_ssm(model: SequenceModel, theirs: dict[str, Tensor]) -> None:
    """Fill a Mamba of the same sizes from the package's state dict.

    Raises ValueError for other models, KeyError for a missing tensor.
    """
    to_mamba_ssm(model)  # raises for other models
    from_huggingface(model, {HUGGING_FACE if name == THEIRS else name: tensor for name, tensor in theirs.items()})
