"""Heads have the number of parameters asked for, read nothing after a text's end, and read order only if declared."""

from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from torch import nn

from retrieval_gap.heads import NEAR, HeadShape, HeadSpec, build, head_names, matched_shape
from retrieval_gap.heads.padding_test import check_mask
from retrieval_gap.machine.errors import UsageError
from tests.heads.own_head import own_head

WIDTHS = [(384, 2, 100_000), (576, 4, 100_000), (384, 1, 250_000)]
CHOICES = [(name, pool) for name in head_names() for pool in (HeadSpec(name).head().pools or ("",))]
ORDERED = [name for name in head_names() if HeadSpec(name).head().reads_order]
BLIND = [name for name in head_names() if name not in ORDERED]


def _shape(name: str, pool: str = "", d_out: int = 3, width: int = 6) -> HeadShape:
    return HeadShape(d_states=8, d_out=d_out, width=width, pool=pool or HeadSpec(name).pool_for("text"))


@pytest.mark.parametrize("name", head_names())
@pytest.mark.parametrize(("d_states", "d_out", "parameters"), WIDTHS)
def test_every_head_has_the_number_of_parameters_asked_for(
    name: str, d_states: int, d_out: int, parameters: int
) -> None:
    spec = HeadSpec(name)
    shape = matched_shape(spec, d_states=d_states, d_out=d_out, parameters=parameters)
    head = build(spec, shape)
    assert abs(sum(p.numel() for p in head.parameters()) - parameters) <= NEAR * parameters
    assert all(p.requires_grad for p in head.parameters())


@pytest.mark.parametrize(("name", "pool"), CHOICES)
def test_padding_does_not_change_the_scores_of_texts(name: str, pool: str) -> None:
    if pool == "token":
        pytest.skip("a pool of labels of tokens, tested with them")
    check_mask(build(HeadSpec(name), _shape(name, pool)), name)


@pytest.mark.parametrize("name", [name for name in head_names() if HeadSpec(name).head().labels_tokens])
def test_padding_does_not_change_the_scores_of_tokens(name: str) -> None:
    spec = HeadSpec(name)
    shape = matched_shape(spec, d_states=32, d_out=3, parameters=60_000, kind="tokens")
    check_mask(build(spec, shape), name, tokens=True)


def _texts() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    states_BxLxD = torch.randn(4, 9, 8, generator=torch.Generator().manual_seed(1))
    order_L = torch.tensor([4, 2, 8, 0, 7, 1, 3, 6, 5])
    return states_BxLxD, states_BxLxD[:, order_L], torch.ones(4, 9, dtype=torch.bool)


@pytest.mark.parametrize(("name", "pool"), CHOICES)
def test_the_scale_of_the_states_does_not_change_the_scores(name: str, pool: str) -> None:
    head, (states, _, mask) = build(HeadSpec(name), _shape(name, pool)), _texts()
    score = head.token_scores if pool == "token" else head
    torch.testing.assert_close(score(states, mask), score(10 * states + 3, mask), atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("name", BLIND)
def test_a_head_that_reads_no_order_gives_the_same_scores_for_any_order(name: str) -> None:
    head, (states, shuffled, mask) = build(HeadSpec(name), _shape(name)), _texts()
    torch.testing.assert_close(head(states, mask), head(shuffled, mask), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ORDERED)
def test_a_head_that_reads_order_gives_other_scores_for_another_order(name: str) -> None:
    head, (states, shuffled, mask) = build(HeadSpec(name), _shape(name)), _texts()
    assert not torch.allclose(head(states, mask), head(shuffled, mask), atol=1e-5)


@pytest.mark.parametrize(("name", "layer"), [("bigru", nn.GRU), ("bilstm", nn.LSTM)])
def test_both_directions_are_those_of_torch_on_packed_texts(name: str, layer: type[nn.GRU]) -> None:
    head = build(HeadSpec(name), _shape(name, "mean"))
    torchs = layer(8, 3, batch_first=True, bidirectional=True)
    with torch.no_grad():
        for theirs, ours in ((("", "ahead")), ("_reverse", "backward_layer")):
            for part in ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"):
                getattr(torchs, part + theirs).copy_(head.get_parameter(f"{ours}.{part}"))
    length_B = torch.tensor([9, 1, 5, 7])
    states_BxLxD, _, _ = _texts()
    mask_BxL = torch.arange(9) < length_B[:, None]
    packed = nn.utils.rnn.pack_padded_sequence(states_BxLxD, length_B, batch_first=True, enforce_sorted=False)
    wanted, _ = nn.utils.rnn.pad_packed_sequence(torchs(packed)[0], batch_first=True)
    found = head.features(states_BxLxD, mask_BxL)
    torch.testing.assert_close(found[mask_BxL], wanted[mask_BxL], atol=1e-6, rtol=1e-6)


def test_the_final_state_is_that_of_torch() -> None:
    head = build(HeadSpec("gru"), _shape("gru", "final"))
    states_BxLxD, _, mask_BxL = _texts()
    _, final_1xBxH = head.get_submodule("ahead")(states_BxLxD)
    torch.testing.assert_close(head.pooled(head.features(states_BxLxD, mask_BxL), mask_BxL), final_1xBxH[0])


@pytest.mark.parametrize(("name", "pool"), CHOICES)
def test_our_heads_score_the_same_in_training_and_evaluation_mode_bit_for_bit(name: str, pool: str) -> None:
    head, (states, _, mask) = build(HeadSpec(name), _shape(name, pool)), _texts()
    score = head.token_scores if pool == "token" else head
    with torch.no_grad():
        head.train()
        trained = score(states, mask)
        head.eval()
        assert torch.equal(score(states, mask), trained)


def test_a_seed_gives_the_same_weights_each_time() -> None:
    one, again, other = (build(HeadSpec("gru"), _shape("gru"), seed) for seed in (0, 0, 1))
    assert torch.equal(one.out.weight, again.out.weight)
    assert not torch.equal(one.out.weight, other.out.weight)


def _own(folder: Path, features: str) -> HeadSpec:
    return HeadSpec.parse(str(own_head(folder, features=features)))


def test_a_users_head_has_the_name_of_its_file(tmp_path: Path) -> None:
    spec = _own(tmp_path, "self.project(states)")
    shape = matched_shape(spec, d_states=16, d_out=2, parameters=5000)
    check_mask(build(spec, shape), spec.shown)
    assert spec.shown == "own"


@pytest.mark.parametrize("d_states", [16, 384, 768])
@pytest.mark.parametrize(
    "features",
    [
        "self.project(states - states.mean(1, keepdim=True))",
        "self.project(states + states.amax((1, 2), keepdim=True))",
        "self.project(states) + states.amin((1, 2), keepdim=True)",
        "self.project(states) * (states == 0).any(2).any(1)[:, None, None].logical_not()",
    ],
)
def test_a_users_head_that_ignores_its_mask_is_refused(features: str, d_states: int, tmp_path: Path) -> None:
    spec = _own(tmp_path, features)
    shape = matched_shape(spec, d_states=d_states, d_out=2, parameters=20_000)
    with pytest.raises(UsageError, match=r"own ignores its mask: a text of \d tokens gets other scores"):
        check_mask(build(spec, shape), spec.shown)


def test_a_gate_that_starts_at_zero_hides_nothing_from_the_padding_test(tmp_path: Path) -> None:
    made = "self.gate = nn.Parameter(torch.zeros(()))"
    features = "self.project(states + self.gate * {}.mean(1, keepdim=True))"
    shape = HeadShape(d_states=8, d_out=2, width=8, pool="mean")
    for read, refused in (("states", True), ("(states * 0)", False)):
        head = build(HeadSpec.parse(str(own_head(tmp_path, made=made, features=features.format(read)))), shape)
        before = {name: parameter.clone() for name, parameter in head.named_parameters()}
        with pytest.raises(UsageError, match="own ignores its mask") if refused else nullcontext():
            check_mask(head, "own")
        assert all(torch.equal(parameter, before[name]) for name, parameter in head.named_parameters())


def test_a_head_whose_scores_are_nan_under_noise_is_not_refused(tmp_path: Path) -> None:
    own = own_head(tmp_path, made="self.scale = nn.Parameter(torch.full((9,), 1e-3))",
                   features="self.project(states) * self.scale.sqrt().sum()")  # fmt: skip
    check_mask(build(HeadSpec.parse(str(own)), HeadShape(d_states=8, d_out=2, width=8, pool="mean")), "own")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("bigur", "unknown head 'bigur'.*did you mean 'bigru'"),
        ("gru+pool=sum", "unknown pool of gru 'sum' \\(choose from final, mean, max, first, last\\)"),
        ("gru+width=3", "expected NAME, or NAME\\+pool=POOL"),
        ("absent.py", "no such head file"),
    ],
)
def test_an_unknown_head_is_refused(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        HeadSpec.parse(text).head()


def test_an_impossible_number_of_parameters_is_refused() -> None:
    with pytest.raises(UsageError, match="bilstm cannot have 900 parameters within 2%"):
        matched_shape(HeadSpec("bilstm"), d_states=384, d_out=2, parameters=900)


def test_a_head_of_one_vector_is_refused_for_labels_of_tokens() -> None:
    with pytest.raises(UsageError, match=r"attention makes one vector of a text: it cannot label tokens \(bigru, "):
        matched_shape(HeadSpec("attention"), d_states=8, d_out=3, parameters=1000, kind="tokens")


def test_a_users_head_with_an_unknown_pool_is_refused(tmp_path: Path) -> None:
    own = own_head(tmp_path)
    own.write_text(own.read_text().replace('("mean",)', '("avg",)'))
    with pytest.raises(
        UsageError, match=r"unknown pool in pools of .*own\.py 'avg' \(choose from mean, max, first, last"
    ):
        HeadSpec.parse(str(own)).head()
