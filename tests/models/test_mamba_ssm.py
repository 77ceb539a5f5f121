"""Weights are converted to and from the names of the package `mamba_ssm`."""

import pytest
import torch

from retrieval_gap.models import ModelConfig, SequenceModel
from retrieval_gap.models.mamba_ssm import from_mamba_ssm, to_mamba_ssm
from tests.models.helpers import SMALL, VOCAB, random_tokens, small_model


def test_weights_come_back_unchanged() -> None:
    first, second = small_model("mamba"), SequenceModel(ModelConfig(architecture=SMALL["mamba"], vocab_size=VOCAB))
    from_mamba_ssm(second, to_mamba_ssm(first))
    for name, tensor in first.state_dict().items():
        assert torch.equal(second.state_dict()[name], tensor), name


def test_hugging_face_reads_them_as_a_checkpoint_of_the_package() -> None:
    """Hugging Face renames the package's embedding when it loads a checkpoint, which confirms that name."""
    transformers = pytest.importorskip("transformers", reason="the oracle, transformers, is not installed")
    ours, size = small_model("mamba"), SMALL["mamba"]
    theirs = transformers.MambaForCausalLM(
        transformers.MambaConfig(
            vocab_size=VOCAB,
            hidden_size=size.d_model,
            num_hidden_layers=size.n_layers,
            state_size=size.d_state,
            layer_norm_epsilon=1e-5,
            use_mambapy=False,
        )
    )
    theirs.load_state_dict(to_mamba_ssm(ours))
    tokens = random_tokens(3, 11)
    with torch.no_grad():
        torch.testing.assert_close(ours(tokens), theirs(tokens).logits, rtol=1e-4, atol=1e-4)


def test_names_and_shapes_are_those_of_the_package() -> None:
    reason = "mamba_ssm is not installed, or not its compiled extension"
    package = pytest.importorskip("mamba_ssm.models.mixer_seq_simple", reason=reason, exc_type=ImportError)
    from mamba_ssm.models.config_mamba import MambaConfig

    size = SMALL["mamba"]
    config = MambaConfig(
        d_model=size.d_model,
        n_layer=size.n_layers,
        vocab_size=VOCAB,
        ssm_cfg={"layer": "Mamba1", "d_state": size.d_state},
        rms_norm=True,
        fused_add_norm=False,
        pad_vocab_size_multiple=1,
    )
    theirs = package.MambaLMHeadModel(config).state_dict()
    ours = to_mamba_ssm(small_model("mamba"))
    assert {name: t.shape for name, t in ours.items()} == {name: t.shape for name, t in theirs.items()}


@pytest.mark.parametrize("name", ["transformer", "lstm", "hybrid"])
def test_other_models_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="counterpart"):
        to_mamba_ssm(small_model(name))
    with pytest.raises(ValueError, match="counterpart"):
        from_mamba_ssm(small_model(name), {})
