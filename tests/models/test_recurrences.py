"""GRU, gated linear attention and the gated delta rule are the recurrences that they are named after.

The chunked forms are compared with loops over time in float64 (values and all gradients, lengths around a chunk), and
the delta rule also with that of `transformers`.  Axes: B batch, L time, H heads, K key width, V value width.
"""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from retrieval_gap.models.gated_deltanet import GatedDeltaMixer, gated_delta_rule
from retrieval_gap.models.gla import CHUNK, GLAMixer, gated_linear_attention
from retrieval_gap.models.gru import GRUMixer
from tests.models.chunked import check_total_decay, check_values_and_gradients, random

LENGTHS = (1, 2, CHUNK - 1, CHUNK, CHUNK + 1, 37, 4 * CHUNK)
B, H, K, V = 2, 3, 4, 5


def naive_gla(q: Tensor, k: Tensor, v: Tensor, log_a: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
    outputs = []
    for t in range(q.shape[1]):
        s = s * log_a[:, t].exp()[..., None] + torch.einsum("bhk,bhv->bhkv", k[:, t], v[:, t])
        outputs.append(torch.einsum("bhk,bhkv->bhv", q[:, t], s))
    return torch.stack(outputs, 1), s


def naive_delta(q: Tensor, k: Tensor, v: Tensor, log_a: Tensor, b: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
    outputs, eye = [], torch.eye(k.shape[-1], dtype=k.dtype)
    for t in range(q.shape[1]):
        a_t, b_t, k_t = log_a[:, t, :, None, None].exp(), b[:, t, :, None, None], k[:, t]
        forget = eye - b_t * torch.einsum("bhk,bhj->bhkj", k_t, k_t)
        s = a_t * forget @ s + b_t * torch.einsum("bhk,bhv->bhkv", k_t, v[:, t])
        outputs.append(torch.einsum("bhk,bhkv->bhv", q[:, t], s))
    return torch.stack(outputs, 1), s


def gla_inputs(length: int) -> list[Tensor]:
    q, k = (random(B, length, H, K, seed=seed) for seed in (1, 2))
    v, log_a = random(B, length, H, V, seed=3), F.logsigmoid(random(B, length, H, K, seed=4))
    return [q, k, v, log_a, random(B, H, K, V, seed=5)]


def delta_inputs(length: int) -> list[Tensor]:
    q, k, v = (random(B, length, H, V, seed=seed) for seed in (1, 2, 3))
    log_a, b = F.logsigmoid(random(B, length, H, seed=4)), random(B, length, H, seed=5).sigmoid()
    return [F.normalize(q, dim=-1), F.normalize(k, dim=-1), v, log_a, b, random(B, H, V, V, seed=6)]


CASES = {"gla": (gated_linear_attention, naive_gla, gla_inputs), "delta": (gated_delta_rule, naive_delta, delta_inputs)}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("length", LENGTHS)
def test_a_chunked_form_equals_its_recurrence_in_values_and_every_gradient(name: str, length: int) -> None:
    chunked, naive, inputs = CASES[name]
    check_values_and_gradients(chunked, naive, inputs(length), 1e-9)


@pytest.mark.parametrize("name", CASES)
def test_a_decay_that_forgets_everything_gives_no_infinity(name: str) -> None:
    chunked, naive, inputs = CASES[name]
    check_total_decay(chunked, naive, inputs(40), 1e-4)


def test_the_delta_rule_replaces_what_a_key_held_and_linear_attention_adds_to_it() -> None:
    key = F.one_hot(torch.tensor([0, 1, 0]), 4).double()[None, :, None]
    value = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], dtype=torch.float64)[None, :, None]
    kept, empty = torch.zeros(1, 3, 1, dtype=torch.float64), torch.zeros(1, 1, 4, 2, dtype=torch.float64)
    _, added = naive_gla(key, key, value, kept[..., None].expand(1, 3, 1, 4), empty)
    square = F.pad(value, (0, 2))
    _, replaced = gated_delta_rule(key, key, square, kept, kept + 1, F.pad(empty, (0, 2)))
    assert added[0, 0, :2].tolist() == [[6.0, 8.0], [3.0, 4.0]]
    torch.testing.assert_close(replaced[0, 0, :2, :2], value[0, [2, 1], 0])


def test_the_delta_rule_is_that_of_transformers() -> None:
    public = pytest.importorskip("transformers.models.qwen3_next.modeling_qwen3_next")
    q, k, v, log_a, b, state = (t.float() for t in delta_inputs(37))
    theirs, last = public.torch_recurrent_gated_delta_rule(q, k, v, log_a, b, state, output_final_state=True)
    ours, our_last = gated_delta_rule(q, k, v, log_a, b, state)
    torch.testing.assert_close(ours * V**-0.5, theirs, rtol=1e-4, atol=1e-5)  # theirs scales its queries
    torch.testing.assert_close(our_last, last, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("length", [1, 5, 23])
def test_the_gru_is_torchs_and_the_papers(length: int) -> None:
    mixer, d_model = GRUMixer(6), 6
    x_BxLxD, h_BxD = random(B, length, d_model, seed=1).float(), random(B, d_model, seed=2).float()
    other = nn.GRU(d_model, d_model, batch_first=True)
    other.load_state_dict(mixer.gru.state_dict())
    theirs, last = other(x_BxLxD, h_BxD[None])
    ours, (our_last,) = mixer.prefill(x_BxLxD, (h_BxD,))
    torch.testing.assert_close((ours, our_last), (theirs, last[0]))
    gates = {name.rpartition("_l0")[0]: p.chunk(3) for name, p in mixer.gru.named_parameters()}
    (w_r, w_z, w_n), (u_r, u_z, u_n) = gates["weight_ih"], gates["weight_hh"]
    (b_r, b_z, b_n), (c_r, c_z, c_n) = gates["bias_ih"], gates["bias_hh"]
    for t in range(length):
        x_BxD = x_BxLxD[:, t]
        r = torch.sigmoid(x_BxD @ w_r.T + b_r + h_BxD @ u_r.T + c_r)
        z = torch.sigmoid(x_BxD @ w_z.T + b_z + h_BxD @ u_z.T + c_z)
        n = torch.tanh(x_BxD @ w_n.T + b_n + r * (h_BxD @ u_n.T + c_n))
        h_BxD = (1 - z) * n + z * h_BxD
        torch.testing.assert_close(ours[:, t], h_BxD)


def test_a_new_gru_keeps_most_of_its_state() -> None:
    bias = GRUMixer(64).gru.bias_ih_l0[64:128]
    assert bias.min() > 0  # every update gate keeps more than half
    assert 3 < bias.mean() < 7


@pytest.mark.parametrize("mixer", [GLAMixer(16, 2), GatedDeltaMixer(16, 2)], ids=["gla", "gated_deltanet"])
def test_a_step_is_one_token_of_the_chunked_form(mixer: GLAMixer | GatedDeltaMixer) -> None:
    x_BxLxD = random(B, 21, 16, seed=1).float()
    with torch.no_grad():
        whole, last = mixer.prefill(x_BxLxD, mixer.init_state(B))
        state, outputs = mixer.init_state(B), []
        for x_BxD in x_BxLxD.unbind(1):
            y_BxD, state = mixer.step(x_BxD, state)
            outputs.append(y_BxD)
    torch.testing.assert_close(torch.stack(outputs, 1), whole, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(state, last, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("mixer", [GLAMixer, GatedDeltaMixer])
def test_heads_that_do_not_divide_the_width_are_refused(mixer: type) -> None:
    with pytest.raises(ValueError, match="does not split into 3 heads"):
        mixer(16, 3)
