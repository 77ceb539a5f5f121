"""The gated delta product, Mamba-2 and log-linear GLA are the recurrences that they are named after.

The chunked forms are compared with loops over time, or with sums over all pairs of tokens, in float64: values and all
gradients, lengths around a chunk.  Axes: B batch, L time, J updates, H heads, K key width, V value width.
"""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from retrieval_gap.models.gated_deltanet import GatedDeltaMixer, gated_delta_rule
from retrieval_gap.models.gated_deltaproduct import GatedDeltaProductMixer, gated_delta_product
from retrieval_gap.models.gla import CHUNK, GLAMixer
from retrieval_gap.models.log_linear_gla import LEVELS, LogLinearGLAMixer, log_linear_attention
from retrieval_gap.models.mamba2 import Mamba2Mixer, state_space_duality, turned
from retrieval_gap.models.mixer import Mixer, state_tensors
from tests.models.chunked import check_total_decay, check_values_and_gradients, random

LENGTHS = (1, 2, CHUNK - 1, CHUNK, CHUNK + 1, 37, 4 * CHUNK, 5 * CHUNK + 3)
B, J, H, K, V = 2, 3, 2, 4, 5


def naive_product(q: Tensor, k: Tensor, v: Tensor, log_a: Tensor, b: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
    outputs, eye = [], torch.eye(k.shape[-1], dtype=k.dtype)
    for t in range(q.shape[1]):
        s = log_a[:, t, :, None, None].exp() * s
        for j in range(k.shape[2]):
            k_j, b_j = k[:, t, j], b[:, t, j, :, None, None]
            s = (eye - b_j * torch.einsum("bhk,bhi->bhki", k_j, k_j)) @ s
            s = s + b_j * torch.einsum("bhk,bhv->bhkv", k_j, v[:, t, j])
        outputs.append(torch.einsum("bhk,bhkv->bhv", q[:, t], s))
    return torch.stack(outputs, 1), s


def naive_duality(c: Tensor, b: Tensor, u: Tensor, log_a: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
    outputs = []
    for t in range(c.shape[1]):
        h = log_a[:, t, :, None, None].exp() * h + torch.einsum("bhn,bhp->bhnp", b[:, t], u[:, t])
        outputs.append(torch.einsum("bhn,bhnp->bhp", c[:, t], h))
    return torch.stack(outputs, 1), h


def level(t: int, s: int) -> int:
    """The level of the block with token s when t reads: blocks of a Fenwick tree, counted backwards from t."""
    if s == t:
        return 0
    end = t
    while True:
        size = end & -end
        if end - size <= s:
            return size.bit_length()
        end -= size


def naive_log_linear(q: Tensor, k: Tensor, v: Tensor, log_a: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
    outputs = []
    for t in range(q.shape[1]):
        o = torch.zeros_like(v[:, 0])
        for s in range(t + 1):
            decay = log_a[:, s + 1 : t + 1].sum(1).exp()
            score = (q[:, t] * decay * k[:, s]).sum(-1, keepdim=True)
            o = o + w[:, t, :, level(t, s), None] * score * v[:, s]
        outputs.append(o)
    return torch.stack(outputs, 1), torch.zeros(())


def product_inputs(length: int) -> list[Tensor]:
    q, k = random(B, length, H, V, seed=1), random(B, length, J, H, V, seed=2)
    v, log_a = random(B, length, J, H, V, seed=3), F.logsigmoid(random(B, length, H, seed=4))
    b = 2 * random(B, length, J, H, seed=5).sigmoid()
    return [F.normalize(q, dim=-1), F.normalize(k, dim=-1), v, log_a, b, random(B, H, V, V, seed=6)]


def duality_inputs(length: int) -> list[Tensor]:
    c, b = (random(B, length, H, K, seed=seed) for seed in (1, 2))
    u, log_a = random(B, length, H, V, seed=3), F.logsigmoid(random(B, length, H, seed=4))
    return [c, b, u, log_a, random(B, H, K, V, seed=5)]


def log_linear_inputs(length: int) -> list[Tensor]:
    q, k = (random(B, length, H, K, seed=seed) for seed in (1, 2))
    v, log_a = random(B, length, H, V, seed=3), F.logsigmoid(random(B, length, H, K, seed=4))
    return [q, k, v, log_a, random(B, length, H, LEVELS, seed=5)]


def chunked_log_linear(q: Tensor, k: Tensor, v: Tensor, log_a: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
    return log_linear_attention(q, k, v, log_a, w, [])[0], torch.zeros(())


CASES = {
    "product": (gated_delta_product, naive_product, product_inputs),
    "duality": (state_space_duality, naive_duality, duality_inputs),
    "log-linear": (chunked_log_linear, naive_log_linear, log_linear_inputs),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("length", LENGTHS)
def test_a_chunked_form_equals_its_definition_in_values_and_every_gradient(name: str, length: int) -> None:
    chunked, naive, inputs = CASES[name]
    check_values_and_gradients(chunked, naive, inputs(length), 1e-8)


@pytest.mark.parametrize("name", CASES)
def test_a_decay_that_forgets_everything_gives_no_infinity(name: str) -> None:
    chunked, naive, inputs = CASES[name]
    check_total_decay(chunked, naive, inputs(40), 1e-3)


MIXERS = {
    "product": lambda: GatedDeltaProductMixer(16, 2, 2, "signed"),
    "one update": lambda: GatedDeltaProductMixer(16, 2, 1, "positive"),
    "mamba2": lambda: Mamba2Mixer(16, 4),
    "turning mamba2": lambda: Mamba2Mixer(16, 4, "data"),
    "log-linear": lambda: LogLinearGLAMixer(16, 2),
}


@pytest.mark.parametrize("name", MIXERS)
@pytest.mark.parametrize("first", [0, 5, CHUNK, 2 * CHUNK + 1])
def test_steps_and_prefill_in_pieces_equal_one_prefill(name: str, first: int) -> None:
    mixer: Mixer = MIXERS[name]().double()
    x_BxLxD, length = random(B, 3 * CHUNK + 4, 16, seed=1), 3 * CHUNK + 4
    with torch.no_grad():
        whole, last = mixer.prefill(x_BxLxD, mixer.init_state(B))
        torch.testing.assert_close(mixer(x_BxLxD), whole)
        state, outputs = mixer.init_state(B), []
        if first:
            y_BxLxD, state = mixer.prefill(x_BxLxD[:, :first], state)
            outputs += y_BxLxD.unbind(1)
        for t in range(first, first + 7):
            y_BxD, state = mixer.step(x_BxLxD[:, t], state)
            outputs.append(y_BxD)
        y_BxLxD, state = mixer.prefill(x_BxLxD[:, first + 7 :], state)
        outputs += y_BxLxD.unbind(1)
    assert len(outputs) == length
    torch.testing.assert_close(torch.stack(outputs, 1), whole)
    for ours, theirs in zip(state_tensors(state), state_tensors(last), strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("name", MIXERS)
def test_a_static_state_gives_the_same_outputs(name: str) -> None:
    mixer, position = MIXERS[name]().double(), torch.tensor(0)
    x_BxLxD = random(B, 21, 16, seed=1)
    with torch.no_grad():
        state, static = mixer.init_state(B), mixer.static_state(B, 21, position)
        for x_BxD in x_BxLxD.unbind(1):
            ours, state = mixer.step(x_BxD, state)
            theirs, static = mixer.step(x_BxD, static)
            position += 1
            torch.testing.assert_close(ours, theirs)


def copied(source: Mixer, target: Mixer) -> None:
    missing = target.load_state_dict(source.state_dict(), strict=False)
    assert not missing.unexpected_keys


def test_one_update_with_eigenvalues_from_0_to_1_is_gated_deltanet() -> None:
    product, delta = GatedDeltaProductMixer(16, 2, 1, "positive"), GatedDeltaMixer(16, 2)
    assert {n: p.shape for n, p in product.named_parameters()} == {n: p.shape for n, p in delta.named_parameters()}
    copied(delta, product)
    x_BxLxD = random(B, 37, 16, seed=1).float()
    with torch.no_grad():
        assert torch.equal(product(x_BxLxD), delta(x_BxLxD))
        ours, theirs = product.init_state(B), delta.init_state(B)
        for x_BxD in x_BxLxD[:, :5].unbind(1):
            y_BxD, ours = product.step(x_BxD, ours)
            z_BxD, theirs = delta.step(x_BxD, theirs)
            torch.testing.assert_close(y_BxD, z_BxD)


def test_two_updates_of_strength_2_permute_three_values_in_one_token() -> None:
    """Each update is a reflection; the product of two rotates three values, which no single update does."""
    swap = torch.tensor([[1.0, -1, 0], [0, 1, -1]], dtype=torch.float64) / math.sqrt(2)
    k, b = swap[None, None, :, None], torch.full((1, 1, 2, 1), 2.0, dtype=torch.float64)
    held = torch.diag(torch.tensor([1.0, 2, 3], dtype=torch.float64))[None, None]
    nothing, kept = torch.zeros(1, 1, 2, 1, 3, dtype=torch.float64), torch.zeros(1, 1, 1, dtype=torch.float64)
    _, moved = gated_delta_product(k[:, :, 0], k, nothing, kept, b, held)
    assert moved[0, 0].round().tolist() == [[0, 2, 0], [0, 0, 3], [1, 0, 0]]


def test_half_turns_keep_the_parity_of_the_bits() -> None:
    """A state turned by half a circle at each 1 has the sign of the parity; one that only decays never changes sign."""
    bits = torch.tensor([1, 0, 1, 1, 0, 1, 0, 0, 1])
    state, angle = torch.tensor([1.0, 0.0]), bits * math.pi
    for k, turn in enumerate(angle):
        state = turned(state, turn[None])
        assert state[0].round().item() == (-1) ** int(bits[: k + 1].sum())


@pytest.mark.parametrize("length", [1, 37])
def test_a_turning_mamba2_with_angle_zero_is_mamba2(length: int) -> None:
    plain, turning = Mamba2Mixer(16, 4), Mamba2Mixer(16, 4, "data")
    copied(plain, turning)
    assert isinstance(turning.angle_proj, nn.Linear)
    nn.init.zeros_(turning.angle_proj.weight)
    nn.init.zeros_(turning.angle_proj.bias)
    x_BxLxD = random(B, length, 16, seed=1).float()
    with torch.no_grad():
        torch.testing.assert_close(turning(x_BxLxD), plain(x_BxLxD))


@pytest.mark.parametrize("length", [1, 16, 50])
def test_with_all_weights_one_log_linear_gla_is_gla(length: int) -> None:
    plain, blocks = GLAMixer(16, 2), LogLinearGLAMixer(16, 2)
    copied(plain, blocks)
    nn.init.zeros_(blocks.level_proj.weight)
    x_BxLxD = random(B, length, 16, seed=1).float()
    with torch.no_grad():
        torch.testing.assert_close(blocks(x_BxLxD), plain(x_BxLxD), rtol=1e-4, atol=1e-5)


def test_the_filled_blocks_are_the_ones_in_the_binary_number_of_tokens() -> None:
    mixer = LogLinearGLAMixer(16, 2)
    with torch.no_grad():
        for length in (1, 6, 11, 16, 44, 48):
            _, state = mixer.prefill(random(B, length, 16, seed=1).float(), mixer.init_state(B))
            filled = [bool(block.abs().sum() > 0) for block in state.s_BxMxHxKxV.unbind(1)]
            assert filled == [bool(length >> m & 1) for m in range(length.bit_length())]


@pytest.mark.parametrize(
    ("build", "told"),
    [
        (lambda: GatedDeltaProductMixer(16, 3, 2, "signed"), "does not split into 3 heads"),
        (lambda: GatedDeltaProductMixer(16, 2, 0, "signed"), "1 or more updates per token"),
        (lambda: GatedDeltaProductMixer(16, 2, 2, "sined"), "unknown eigenvalues 'sined'"),
        (lambda: Mamba2Mixer(18, 4), "heads of 32"),
        (lambda: Mamba2Mixer(16, 5), "d_state = 5 is odd"),
        (lambda: Mamba2Mixer(16, 4, "some"), "unknown rotation 'some'"),
        (lambda: LogLinearGLAMixer(16, 3), "does not split into 3 heads"),
    ],
)
def test_shapes_that_cannot_be_built_are_refused(build: object, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        build()  # type: ignore[operator]


def test_a_context_too_long_for_the_weights_is_refused() -> None:
    q, k, v, log_a, w = log_linear_inputs(CHUNK)
    before = [None] * (LEVELS - 5) + [random(B, H, K, V, seed=1)]
    with pytest.raises(ValueError, match="contexts of less than"):
        log_linear_attention(q, k, v, log_a, w, before)


def test_the_delta_product_is_the_delta_rule_with_several_updates_per_token() -> None:
    q, k, v, log_a, b, s = product_inputs(5)
    outputs, state = gated_delta_product(q, k, v, log_a, b, s)
    for t in range(5):
        kept = torch.stack([log_a[:, t], torch.zeros_like(log_a[:, t]), torch.zeros_like(log_a[:, t])], 1)
        o_BxJxHxE, s = gated_delta_rule(q[:, t, None].expand_as(k[:, t]), k[:, t], v[:, t], kept, b[:, t], s)
        torch.testing.assert_close(o_BxJxHxE[:, -1], outputs[:, t])
    torch.testing.assert_close(state, s)
