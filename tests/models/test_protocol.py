"""Every architecture is causal, and gives the same outputs in parallel, by prefill and step by step."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval_gap.models import ARCHITECTURES, ModelConfig, SequenceModel, architecture
from retrieval_gap.models.mixer import select_rows, state_tensors
from tests.models.helpers import SMALL, VOCAB, random_tokens, small_model

every_architecture = pytest.mark.parametrize("name", SMALL)
CLOSE = {"rtol": 1e-4, "atol": 1e-5}
# These normalise outputs of any size, so float32's rounding of a small one shows: they are compared in float64.
NORMALISED = ("gla", "gated_deltanet", "gated_deltaproduct", "mamba2", "turning mamba2", "log_linear_gla")


@every_architecture
@pytest.mark.parametrize("length", [2, 3, 17, 40])
def test_a_later_token_changes_no_earlier_output_by_a_single_bit(name: str, length: int) -> None:
    model, tokens = small_model(name), random_tokens(3, length)
    changed = tokens.clone()
    changed[:, -1] = (changed[:, -1] + 1) % VOCAB
    with torch.no_grad():
        before, after = model(tokens), model(changed)
    assert torch.equal(before[:, :-1], after[:, :-1])
    assert not torch.equal(before[:, -1], after[:, -1])


@every_architecture
@settings(max_examples=8, deadline=None)
@given(length=st.integers(2, 30), data=st.data())
def test_prefill_then_steps_equal_the_parallel_forward(name: str, length: int, data: st.DataObject) -> None:
    model, tokens = small_model(name), random_tokens(3, length, seed=length)
    model = model.double() if name in NORMALISED else model
    prompt = data.draw(st.integers(1, length - 1))
    with torch.no_grad():
        logits = model(tokens)
        last, state = model.prefill(tokens[:, :prompt])
        torch.testing.assert_close(last, logits[:, prompt - 1], **CLOSE)
        for t in range(prompt, length):
            last, state = model.step(tokens[:, t], state)
            torch.testing.assert_close(last, logits[:, t], **CLOSE)


@every_architecture
def test_prefill_in_two_pieces_equals_prefill_in_one(name: str) -> None:
    model, tokens = small_model(name), random_tokens(2, 21)
    with torch.no_grad():
        whole, _ = model.prefill(tokens)
        _, state = model.prefill(tokens[:, :8])
        parts, _ = model.prefill(tokens[:, 8:], state)
    torch.testing.assert_close(parts, whole, **CLOSE)


@every_architecture
def test_padding_on_the_right_never_changes_a_result(name: str) -> None:
    model, tokens = small_model(name), random_tokens(2, 12)
    model = model.double() if "alibi" in name else model  # PyTorch adds up longer rows in another order
    padded = torch.cat([tokens, torch.zeros(2, 30, dtype=torch.long)], 1)
    mask = torch.ones(2, 12, dtype=torch.bool)
    padded_mask = torch.cat([mask, torch.zeros(2, 30, dtype=torch.bool)], 1)
    with torch.no_grad():
        torch.testing.assert_close(model(padded)[:, :12], model(tokens), rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(model.loss(padded, padded_mask), model.loss(tokens, mask))


@every_architecture
def test_the_loss_grades_the_masked_tokens_and_only_them(name: str) -> None:
    model, tokens = small_model(name), random_tokens(2, 9)
    mask = torch.zeros(2, 9, dtype=torch.bool)
    mask[0, 4] = mask[1, 7] = True
    with torch.no_grad():
        logp = model(tokens).log_softmax(-1)
        expected = -(logp[0, 3, tokens[0, 4]] + logp[1, 6, tokens[1, 7]]) / 2
        torch.testing.assert_close(model.loss(tokens, mask), expected)


@every_architecture
def test_selected_rows_of_a_state_continue_their_samples(name: str) -> None:
    model, tokens = small_model(name), random_tokens(5, 7)
    rows = torch.tensor([4, 1])
    with torch.no_grad():
        _, state = model.prefill(tokens[:, :6])
        some, _ = model.step(tokens[rows, 6], select_rows(state, rows))
        every, _ = model.step(tokens[:, 6], state)
    torch.testing.assert_close(some, every[rows], **CLOSE)


ONE_SIZE = ["mamba", "lstm", "gru", "gla", "gated_deltanet", "gated_deltaproduct", "mamba2", "turning mamba2"]


@pytest.mark.parametrize("name", [*ONE_SIZE, "lstm with conv"])
def test_a_recurrent_state_has_one_size_whatever_the_context(name: str) -> None:
    model = small_model(name)
    assert model.state_bits(2) == model.state_bits(100)


def test_state_bits_are_those_of_the_tensors() -> None:
    # 2 layers x (h, c) x width 16 x 32 bits
    assert small_model("lstm").state_bits(50) == 2 * 2 * 16 * 32
    # 2 layers x (conv window of 3 + 4 states) x 32 channels x 32 bits
    assert small_model("mamba").state_bits(50) == 2 * 7 * 32 * 32
    # 2 layers x h x width 16 x 32 bits
    assert small_model("gru").state_bits(50) == 2 * 16 * 32
    # 2 layers x 5 units of one bit
    assert small_model("binary gru").state_bits(50) == 2 * 5
    # 2 layers x 2 heads x (4 keys x 8 values) x 32 bits
    assert small_model("gla").state_bits(50) == 2 * 2 * 4 * 8 * 32
    # 2 layers x (conv window of 3 x 48 channels + 2 heads x (8 keys x 8 values)) x 32 bits
    assert small_model("gated_deltanet").state_bits(50) == 2 * (3 * 48 + 2 * 8 * 8) * 32
    # the same state, and a window for the query, 3 keys and 3 values
    assert small_model("gated_deltaproduct").state_bits(50) == 2 * (3 * 7 * 16 + 2 * 8 * 8) * 32
    # 2 layers x (conv window of 3 x (32 + 2 x 4) channels + 1 head x (4 states x 32 channels)) x 32 bits, turned or not
    assert small_model("mamba2").state_bits(50) == 2 * (3 * 40 + 4 * 32) * 32
    assert small_model("turning mamba2").state_bits(50) == small_model("mamba2").state_bits(50)
    # one state of GLA for each binary digit of the number of tokens
    for length, digits in ((1, 1), (50, 6), (64, 7), (100, 7)):
        assert small_model("log_linear_gla").state_bits(length) == digits * small_model("gla").state_bits(1)
    # an LSTM's, and 2 layers x a window of 2 x 16 channels
    assert small_model("lstm with conv").state_bits(50) == small_model("lstm").state_bits(50) + 2 * 2 * 16 * 32
    # 2 layers x (key, value) x width 32 x 32 bits, for each token
    assert small_model("transformer").state_bits(50) == 50 * 2 * 2 * 32 * 32
    _, state = small_model("transformer").prefill(random_tokens(3, 5))
    assert [t.shape[2] for t in state_tensors(state)] == [5] * 4
    # and a position
    assert small_model("offset transformer").state_bits(50) == small_model("transformer").state_bits(50) + 32


@pytest.mark.parametrize(
    ("name", "size", "parameters"),
    [
        ("transformer", "0.5m", 526_400),
        ("transformer", "1m", 1_052_736),
        ("transformer", "2m", 1_969_280),
        ("mamba", "0.5m", 523_328),
        ("mamba", "1m", 1_166_720),
        ("mamba", "2m", 2_099_968),
        ("hybrid", "0.5m", 458_240),
        ("hybrid", "1m", 980_864),
        ("hybrid", "2m", 1_797_376),
        ("lstm", "0.5m", 528_000),
        ("lstm", "1m", 1_056_000),
        ("lstm", "2m", 2_102_000),
        ("gru", "0.5m", 524_000),
        ("gru", "1m", 1_047_000),
        ("gru", "2m", 2_084_000),
        ("gla", "0.5m", 526_000),
        ("gla", "1m", 1_051_000),
        ("gla", "2m", 2_103_000),
        ("gated_deltanet", "0.5m", 525_000),
        ("gated_deltanet", "1m", 1_052_000),
        ("gated_deltanet", "2m", 2_104_000),
        ("gated_deltaproduct", "0.5m", 526_000),
        ("gated_deltaproduct", "1m", 1_052_000),
        ("gated_deltaproduct", "2m", 2_104_000),
        ("mamba2", "0.5m", 526_500),
        ("mamba2", "1m", 1_053_000),
        ("mamba2", "2m", 2_105_500),
        ("log_linear_gla", "0.5m", 524_000),
        ("log_linear_gla", "1m", 1_049_000),
        ("log_linear_gla", "2m", 2_098_000),
    ],
)
def test_sizes_are_the_papers_and_other_architectures_match_them(name: str, size: str, parameters: int) -> None:
    model = SequenceModel(ModelConfig(architecture=architecture(name, size), vocab_size=30))
    assert model.parameter_count() == pytest.approx(parameters, rel=0.005)


def test_the_tiny_models_differ_by_less_than_a_tenth_in_parameters() -> None:
    counts = [
        SequenceModel(ModelConfig(architecture=architecture(name, "tiny"), vocab_size=18)).parameter_count()
        for name in ARCHITECTURES
    ]
    assert max(counts) < 1.1 * min(counts)


@pytest.mark.parametrize("embedding", ["sinusoidal", "learned"])
def test_the_embedding_is_trained_only_if_it_is_learned(embedding: str) -> None:
    model = small_model("transformer", embedding)  # type: ignore[arg-type]
    model.loss(random_tokens(2, 5), torch.ones(2, 5, dtype=torch.bool)).backward()
    assert (model.embedding.weight.grad is not None) == (embedding == "learned")


def test_the_sinusoidal_embedding_is_the_papers() -> None:
    row = small_model("lstm").embedding.weight[5]
    angle = torch.tensor([5 / 10_000 ** (j / 16) for j in range(0, 16, 2)])
    torch.testing.assert_close(row[0::2], angle.sin())
    torch.testing.assert_close(row[1::2], angle.cos())


def test_building_a_model_does_not_change_the_global_random_state() -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    small_model("lstm")
    assert torch.equal(torch.rand(1), expected)
