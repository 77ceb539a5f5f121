"""A Transformer's positions and the short convolution are as defined, and change no hash at their defaults.

Axes: B batch, L time, D model width.
"""

import math

import pytest
import torch
from torch.nn import functional as F

from retrieval_gap.experiments.trained.config import RunConfig
from retrieval_gap.machine.errors import UsageError
from retrieval_gap.models import ARCHITECTURES, ModelConfig, SequenceModel, architecture
from retrieval_gap.models.attention import CausalAttention
from retrieval_gap.models.huggingface import to_huggingface
from retrieval_gap.models.lstm import LSTMMixer
from retrieval_gap.models.positions import (
    LARGEST_OFFSET,
    POSITIONS,
    AlibiAttention,
    OffsetPositions,
    UnplacedAttention,
    attention_with,
)
from retrieval_gap.models.short_conv import ShortConv
from tests.models.helpers import random_tokens, small_model


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def naive_attention(mixer: CausalAttention, x_BxLxD: torch.Tensor, slopes: list[float]) -> torch.Tensor:
    """Attention computed by head and by token; scores fall by a head's slope for each token of distance."""
    q, k, v = mixer.qkv_proj(x_BxLxD).chunk(3, -1)
    width, heads = q.shape[-1] // mixer.n_heads, []
    for h, slope in enumerate(slopes):
        mine = slice(h * width, (h + 1) * width)
        rows = []
        for t in range(x_BxLxD.shape[1]):
            scores = torch.stack([(q[:, t, mine] * k[:, s, mine]).sum(-1) for s in range(t + 1)], 1) * width**-0.5
            scores = scores - slope * torch.arange(t, -1, -1.0)
            rows.append((scores.softmax(1)[..., None] * v[:, : t + 1, mine]).sum(1))
        heads.append(torch.stack(rows, 1))
    return mixer.o_proj(torch.cat(heads, -1))


@pytest.mark.parametrize("length", [1, 2, 17])
def test_alibi_is_attention_with_a_slope_for_each_head(length: int) -> None:
    mixer, x_BxLxD = AlibiAttention(16, 4), random(2, length, 16)
    slopes = [2.0**-2, 2.0**-4, 2.0**-6, 2.0**-8]
    torch.testing.assert_close(mixer(x_BxLxD), naive_attention(mixer, x_BxLxD, slopes), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("length", [1, 2, 17])
def test_attention_without_positions_has_no_slope_and_no_rotation(length: int) -> None:
    mixer, x_BxLxD = UnplacedAttention(16, 4), random(2, length, 16)
    torch.testing.assert_close(mixer(x_BxLxD), naive_attention(mixer, x_BxLxD, [0.0] * 4), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("positions", ["rotary", "none", "alibi"])
def test_the_last_token_sees_the_order_unless_there_are_no_positions(positions: str) -> None:
    mixer, x_BxLxD = attention_with(positions, 16, 2), random(2, 6, 16)
    swapped = x_BxLxD[:, [1, 0, 2, 3, 4, 5]]
    same = torch.allclose(mixer(x_BxLxD)[:, -1], mixer(swapped)[:, -1], atol=1e-5)
    assert same == (positions == "none")


def test_offsets_are_random_in_training_and_zero_in_decoding() -> None:
    placed, x_BxLxD = OffsetPositions(16), random(400, 3, 16)
    first = placed._offsets(x_BxLxD)[:, 0]
    assert 0 <= int(first.min()) < LARGEST_OFFSET // 20
    assert LARGEST_OFFSET - LARGEST_OFFSET // 20 < int(first.max()) < LARGEST_OFFSET
    assert len(first.unique()) > 300
    assert torch.equal(placed(x_BxLxD), placed(x_BxLxD))  # equal weights give equal offsets: a resumed run's too
    with torch.no_grad():
        placed.gain_D[0] += 1e-3
    assert (placed._offsets(x_BxLxD)[:, 0] == first).float().mean() < 0.05
    told = placed.eval()(x_BxLxD)
    torch.testing.assert_close(told, placed.prefill(x_BxLxD, placed.init_state(400))[0])


@pytest.mark.parametrize("size", ["tiny", "0.5m", "2m"])
def test_offset_positions_are_as_large_as_the_tokens_when_training_begins(size: str) -> None:
    made = architecture("transformer", f"{size}+positions=random_offsets")
    model = SequenceModel(ModelConfig(architecture=made, vocab_size=64, embedding="learned"))
    x_BxLxD = model.embedding(torch.arange(64).reshape(4, 16))
    placed = next(layer for layer in model.layers if isinstance(layer, OffsetPositions))
    added = (placed(x_BxLxD) - x_BxLxD).square().mean().sqrt()
    assert 0.5 < added / x_BxLxD.square().mean().sqrt() < 1


def test_a_sample_has_the_same_offset_in_a_batch_and_in_a_part_of_it() -> None:
    placed, x_BxLxD = OffsetPositions(16), random(8, 30, 16)
    torch.testing.assert_close(torch.cat([placed(x_BxLxD[:3]), placed(x_BxLxD[3:])]), placed(x_BxLxD))
    longer = torch.cat([x_BxLxD, random(8, 5, 16)], 1)  # padded, as to the longest sample of another part
    torch.testing.assert_close(placed(longer)[:, :30], placed(x_BxLxD))


def test_sinusoids_continue_from_the_position_in_the_state() -> None:
    placed = OffsetPositions(16).eval()
    x_BxLxD = torch.zeros(1, 9, 16)
    whole = placed(x_BxLxD)
    assert (whole[0, 5] / placed.gain_D)[1].item() == pytest.approx(math.cos(5))
    _, state = placed.prefill(x_BxLxD[:, :5], placed.init_state(1))
    torch.testing.assert_close(placed.prefill(x_BxLxD[:, 5:], state)[0], whole[:, 5:])


@pytest.mark.parametrize("width", [2, 3, 4, 7])
def test_a_short_convolution_is_torchs_added_to_its_input(width: int) -> None:
    inner = LSTMMixer(8)
    mixer, x_BxLxD = ShortConv(8, width, inner), random(2, 11, 8)
    conv = F.conv1d(F.pad(x_BxLxD.mT, (width - 1, 0)), mixer.weight_DxW[:, None], mixer.bias_D, groups=8).mT
    torch.testing.assert_close(mixer(x_BxLxD), inner(x_BxLxD + conv), rtol=1e-4, atol=1e-5)
    torch.nn.init.zeros_(mixer.weight_DxW)
    torch.testing.assert_close(mixer(x_BxLxD), inner(x_BxLxD))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_architecture_takes_a_short_convolution(name: str) -> None:
    plain, with_conv = (
        SequenceModel(ModelConfig(architecture=architecture(name, size), vocab_size=9)).eval()
        for size in ("tiny", "tiny+conv=4")
    )
    mixers = [layer for layer in with_conv.modules() if isinstance(layer, ShortConv)]
    assert mixers
    assert with_conv.parameter_count() == plain.parameter_count() + len(mixers) * 64 * 5
    assert with_conv.state_bits(9) == plain.state_bits(9) + len(mixers) * 64 * 3 * 32


def run(arch: str, size: str) -> RunConfig:
    return RunConfig(task="istree", mode="cot", n=8, arch=arch, size=size)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_an_option_left_at_its_default_is_not_hashed(name: str) -> None:
    shape = run(name, "tiny").hashed_values()["shape"]
    assert not {"conv", "positions", "rotation"} & set(shape)
    assert run(name, "tiny+conv=4").hashed_values()["shape"] == shape | {"conv": 4}


def test_an_option_given_at_its_default_changes_no_hash() -> None:
    for arch, said in (
        ("transformer", "positions=rotary"),
        ("hybrid", "positions=rotary"),
        ("mamba2", "rotation=none"),
    ):
        assert run(arch, f"tiny+{said}").hashed_values()["shape"] == run(arch, "tiny").hashed_values()["shape"]


@pytest.mark.parametrize(
    ("arch", "size", "told"),
    [
        (
            "transformer",
            "tiny+positions=rotery",
            "unknown positions 'rotery' .choose from rotary, none, alibi, random_off",
        ),
        ("transformer", "tiny+conv=1", r"conv = 1 is outside 2\.\.16"),
        ("lstm", "tiny+conv=17", r"conv = 17 is outside 2\.\.16"),
        ("lstm", "tiny+positions=none", "unknown lstm dimension 'positions'"),
        ("mamba2", "tiny+rotation=some", "unknown rotation 'some'"),
        ("gated_deltaproduct", "tiny+n_h=0", "n_h = '0' is not a whole number"),
        ("gated_deltaproduct", "tiny+eigenvalues=0", "unknown eigenvalues '0'"),
    ],
)
def test_an_invalid_option_is_refused_in_one_line(arch: str, size: str, told: str) -> None:
    with pytest.raises(UsageError, match=told) as raised:
        architecture(arch, size)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("positions", [p for p in POSITIONS if p != "rotary"])
def test_other_positions_have_no_public_counterpart(positions: str) -> None:
    model = SequenceModel(
        ModelConfig(architecture=architecture("transformer", f"tiny+positions={positions}"), vocab_size=9)
    )
    with pytest.raises(ValueError, match="public counterpart"):
        to_huggingface(model)


@pytest.mark.parametrize("name", ["alibi transformer", "offset transformer", "transformer with conv"])
def test_a_static_state_gives_the_same_outputs(name: str) -> None:
    model, position, tokens = small_model(name), torch.tensor(0), random_tokens(2, 12)
    with torch.no_grad():
        state, static = model.init_state(2), model.static_state(2, 12, position)
        for token_B in tokens.unbind(1):
            ours, state = model.step(token_B, state)
            theirs, static = model.step(token_B, static)
            position += 1
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
