"""A layer with a binary state is the recurrence in its file, and carries nothing from token to token but its bits.

Axes: B batch, L time, D model width, K bits.
"""

import pytest
import torch
from torch import Tensor

from retrieval_gap.models import ModelConfig, SequenceModel
from retrieval_gap.models.binary import BinaryMixer
from retrieval_gap.models.gru import GRU
from tests.models.helpers import random_tokens, small_model

B, L, D, K = 3, 9, 8, 5


class StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, mean: Tensor) -> Tensor:
        return torch.where(mean > 0, 1.0, -1.0).to(mean.dtype)

    @staticmethod
    def backward(ctx: object, *gradients: Tensor) -> Tensor:
        return gradients[0]


def naive(mixer: BinaryMixer, x_BxLxD: Tensor) -> tuple[Tensor, Tensor]:
    """Outputs and the last state, from the empty one; the sign has gradient one, so that of the mean passes through."""
    (w, c), v = mixer.read_token.parameters(), mixer.read_state.weight
    gates, bias = mixer.gates.parameters()
    h_BxK, outputs = -torch.ones(len(x_BxLxD), K, dtype=x_BxLxD.dtype), []
    for t in range(x_BxLxD.shape[1]):
        a_BxD = x_BxLxD[:, t] @ w.T + c + h_BxK @ v.T
        u_BxD = a_BxD / (1 + torch.exp(-a_BxD))
        z_BxK = 1 / (1 + torch.exp(-(u_BxD @ gates[:K].T + bias[:K])))
        n_BxK = u_BxD @ gates[K:].T + bias[K:]
        moved_BxK = torch.stack([h_BxK[:, (k - mixer.shift) % K] for k in range(K)], -1)
        h_BxK = StraightThrough.apply(z_BxK * moved_BxK + (1 - z_BxK) * torch.tanh(n_BxK))
        outputs.append(u_BxD @ mixer.out_proj.weight.T)
    return torch.stack(outputs, 1), h_BxK


@pytest.mark.parametrize("shift", [0, 2])
def test_the_layer_is_the_recurrence_of_its_file_in_values_and_every_gradient(shift: int) -> None:
    torch.manual_seed(0)
    mixer = BinaryMixer(D, K, shift).double().eval()
    with torch.no_grad():
        for parameter in mixer.parameters():
            parameter.add_(torch.randn_like(parameter))
    x_BxLxD = torch.randn(B, L, D, dtype=torch.float64)
    ours, (state_BxK,) = mixer.prefill(x_BxLxD, mixer.init_state(B))
    theirs, last_BxK = naive(mixer, x_BxLxD)
    torch.testing.assert_close(ours, theirs)
    assert torch.equal(state_BxK, last_BxK > 0)
    assert 0 < state_BxK.float().mean() < 1
    weight = torch.randn_like(ours)
    for one, other in zip(
        *(torch.autograd.grad((y * weight).sum(), list(mixer.parameters())) for y in (ours, theirs)), strict=True
    ):
        torch.testing.assert_close(one, other)


def test_a_shift_without_bits_or_not_less_than_them_is_refused() -> None:
    for wrong in (GRU(d_model=8, n_layers=1, shift=1), GRU(d_model=8, n_layers=1, bits=4, shift=4)):
        with pytest.raises(ValueError, match="shift"):
            wrong.layers()


def test_later_outputs_depend_on_the_bits_alone() -> None:
    """800 different prompts lead to at most 2^3 states, so the same next token has at most 2^3 different answers."""
    model = SequenceModel(ModelConfig(architecture=GRU(d_model=16, n_layers=1, bits=3), vocab_size=23))
    with torch.no_grad():
        for parameter in model.layers.parameters():
            parameter.add_(3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)))
        _, state = model.eval().prefill(random_tokens(800, 12))
        logits, _ = model.step(torch.full((800,), 7), state)
    assert 2 < len(logits.round(decimals=3).unique(dim=0)) <= 2**3
    assert model.state_bits(12) == 3


def test_training_draws_bits_at_random_and_the_same_ones_for_the_same_weights() -> None:
    model, tokens = small_model("binary gru"), random_tokens(40, 12)
    with torch.no_grad():
        nearest = model(tokens)
        first, again = (model.train()(tokens) for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.allclose(first, nearest)


@pytest.mark.parametrize("mean", [0.0, 0.2, -0.9])
def test_training_rounds_a_unit_at_random_and_keeps_its_mean(mean: float) -> None:
    mixer = BinaryMixer(D, K).train()
    near = mean + 1e-2 * torch.rand(20_000, generator=torch.Generator().manual_seed(0))
    assert mixer._rounded(near).mean() == pytest.approx(float(near.mean()), abs=0.03)
    assert set(mixer.eval()._rounded(near).tolist()) <= {-1.0, 1.0}
