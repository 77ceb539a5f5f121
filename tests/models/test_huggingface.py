"""The public implementations are the oracle: the same weights give the same logits, and are converted both ways."""

from typing import Any

import pytest
import torch

from retrieval_gap.kernels.rms_norm import SMALLEST_COMPILED
from retrieval_gap.models import ModelConfig, SequenceModel, architecture
from retrieval_gap.models.huggingface import from_huggingface, to_huggingface
from retrieval_gap.models.transformer import Transformer
from tests.models.helpers import SMALL, VOCAB, random_tokens, small_model

transformers = pytest.importorskip("transformers", reason="the oracle, transformers, is not installed")


def _public(config: Any) -> Any:
    if isinstance(config, Transformer):
        return transformers.LlamaForCausalLM(
            transformers.LlamaConfig(
                vocab_size=VOCAB,
                hidden_size=config.d_model,
                intermediate_size=config.d_ff,
                num_hidden_layers=config.n_layers,
                num_attention_heads=config.n_heads,
                rms_norm_eps=1e-5,
                tie_word_embeddings=True,
            )
        )
    return transformers.MambaForCausalLM(
        transformers.MambaConfig(
            vocab_size=VOCAB,
            hidden_size=config.d_model,
            num_hidden_layers=config.n_layers,
            state_size=config.d_state,
            layer_norm_epsilon=1e-5,
            use_mambapy=False,
        )
    )


@pytest.mark.parametrize("name", ["transformer", "mamba"])
@pytest.mark.parametrize("length", [1, 2, 33])
def test_the_same_weights_give_the_same_logits(name: str, length: int) -> None:
    ours, theirs = small_model(name), _public(SMALL[name])
    theirs.load_state_dict(to_huggingface(ours))
    tokens = random_tokens(3, length)
    with torch.no_grad():
        torch.testing.assert_close(ours(tokens), theirs(tokens).logits, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["transformer", "mamba"])
def test_models_large_enough_for_every_compiled_kernel_have_the_same_loss_and_gradient(name: str) -> None:
    shipped = architecture(name, "tiny")
    ours, theirs = SequenceModel(ModelConfig(architecture=shipped, vocab_size=VOCAB)), _public(shipped)
    theirs.load_state_dict(to_huggingface(ours))
    tokens = random_tokens(16, 60)
    assert tokens.numel() * shipped.d_model > SMALLEST_COMPILED
    mask = torch.ones_like(tokens, dtype=torch.bool)
    labels = {"input_ids": tokens, "labels": tokens}
    our_loss, their_loss = ours.loss(tokens, mask), theirs(**labels).loss
    torch.testing.assert_close(our_loss, their_loss, rtol=1e-4, atol=1e-4)
    our_loss.backward()
    their_loss.backward()
    first = "model.layers.0.input_layernorm" if name == "transformer" else "backbone.layers.0.norm"
    gradient = theirs.get_submodule(first).weight.grad
    torch.testing.assert_close(ours.layers[0].norm.weight.grad, gradient, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", ["transformer", "mamba"])
def test_public_weights_come_back_unchanged(name: str) -> None:
    theirs = _public(SMALL[name])
    ours = SequenceModel(ModelConfig(architecture=SMALL[name], vocab_size=VOCAB))
    from_huggingface(ours, theirs.state_dict())
    back = to_huggingface(ours)
    assert set(back) == set(theirs.state_dict())
    for key, tensor in theirs.state_dict().items():
        assert torch.equal(back[key], tensor), key


def test_models_without_a_public_counterpart_are_refused() -> None:
    with pytest.raises(ValueError, match="public counterpart"):
        to_huggingface(small_model("lstm"))
