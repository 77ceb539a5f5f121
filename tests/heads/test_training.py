"""Training of a head: it learns, is resumed bit for bit, and is scored by the task's metric."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

from retrieval_gap.heads import Head, HeadShape, HeadSpec, build
from retrieval_gap.heads.data import StateData, loss_of, scores_of
from retrieval_gap.heads.saved import Saved
from retrieval_gap.heads.training import HeadTraining, Hooks, Splits, _order, evaluate, search
from retrieval_gap.llm.embeddings import TextStates
from retrieval_gap.machine.errors import RunError
from retrieval_gap.tasks.texts import Example
from retrieval_gap.tasks.texts.spans import span_f1

D = 8
WORDS = ("red", "blue", "the", "a", "is", "near", "old")
QUICK = HeadTraining(rates=(3e-3, 1e-2), steps=60, batch_size=16, evaluate_every=10, patience=6)


class Lookup(dict[str, TextStates]):
    """States of texts with one vector per word, so that only order can tell which of two words came first."""

    def __missing__(self, text: str) -> TextStates:
        table = torch.randn(len(WORDS), D, generator=torch.Generator().manual_seed(0))
        words = text.split()
        return TextStates(table[[WORDS.index(word) for word in words]], torch.arange(len(words), dtype=torch.int32))


def _ordered(count: int, seed: int) -> list[Example]:
    draws = torch.Generator().manual_seed(seed)
    found = []
    for number in range(count):
        label = number % 2
        words = [WORDS[2 + int(w)] for w in torch.randint(5, (4,), generator=draws)]
        words.insert(int(torch.randint(2, (1,), generator=draws)), ("red", "blue")[label])
        words.insert(3 + int(torch.randint(2, (1,), generator=draws)), ("blue", "red")[label])
        found.append(Example(name=f"{seed}-{number}", group=str(number // 2), texts=(" ".join(words),), label=label))
    return found


def _data(examples: Sequence[Example], **more: object) -> StateData:
    options: dict = {"kind": "text", "labels": ("red", "blue")} | more
    return StateData(examples, Lookup(), **options)


def _splits(**more: object) -> Splits:
    return Splits(train=_data(_ordered(256, 1), **more), validation=_data(_ordered(64, 2), **more))


def _make(name: str = "gru") -> Head:
    pool = HeadSpec(name).pool_for("text")
    return build(HeadSpec(name), HeadShape(d_states=D, d_out=2, width=16, pool=pool), seed=3)


def _trained(name: str = "gru", config: HeadTraining = QUICK, **more: object) -> tuple[Saved, float]:
    hooks = Hooks(save=lambda saved: None, report=lambda steps: None)
    saved = search(lambda: _make(name), _splits(**more), config, 0, Saved(), hooks)
    head = _make(name)
    head.load_state_dict(dict(saved.chosen_weights))
    counted, _ = evaluate(head, _data(_ordered(128, 3), **more))
    return saved, sum(each.numerator for each in counted) / len(counted)


def test_a_recurrent_head_learns_which_came_first_and_a_mean_cannot() -> None:
    _, recurrent = _trained("gru")
    _, mean = _trained("mean")
    assert recurrent > 0.9
    assert 0.3 < mean < 0.7


def test_a_recurrent_head_learns_nothing_from_shuffled_states() -> None:
    assert 0.3 < _trained("gru", window=0)[1] < 0.7


def test_the_best_rate_is_chosen_on_the_validation_split() -> None:
    saved, _ = _trained()
    assert saved.chosen is not None
    assert [best.lr for best in saved.tried] == list(QUICK.rates)
    assert saved.chosen.score == max(best.score for best in saved.tried)


def test_any_seed_gives_an_order_and_that_of_a_small_seed_never_changes() -> None:
    draws = torch.Generator().manual_seed(1_000_003 * 4)
    assert next(_order(9, 9, seed=3, step=0)) == torch.randperm(9, generator=draws).tolist()
    for seed in (10**14, 2**63 - 1):
        assert sorted(next(_order(9, 9, seed=seed, step=0))) == list(range(9))


class KilledError(Exception):
    """Stands for a kill."""


class Dropping(Head):
    """A user's head with dropout."""

    pools = ("mean",)
    reads_order = False

    def __init__(self, shape: HeadShape, share: float) -> None:
        super().__init__(shape)
        self.project, self.drop = nn.Linear(shape.d_states, shape.width), nn.Dropout(share)

    def features(self, states_BxLxD: torch.Tensor, mask_BxL: torch.Tensor) -> torch.Tensor:
        return self.drop(self.project(states_BxLxD))


def _dropping(share: float = 0.5) -> Head:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return Dropping(HeadShape(d_states=D, d_out=2, width=16, pool="mean"), share)


class TwoExperts(Head):
    """A head whose second projection gets the texts of some batches only."""

    pools = ("mean",)
    reads_order = False

    def __init__(self, shape: HeadShape) -> None:
        super().__init__(shape)
        self.first, self.second = (nn.Linear(shape.d_states, shape.width) for _ in range(2))

    def features(self, states_BxLxD: torch.Tensor, mask_BxL: torch.Tensor) -> torch.Tensor:
        expert = self.second if float(states_BxLxD[:, 0, 0].sum()) > 10 else self.first
        return expert(states_BxLxD)


def _two_experts() -> Head:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return TwoExperts(HeadShape(d_states=D, d_out=2, width=16, pool="mean"))


def _searched(make: Callable[[], Head]) -> Saved:
    return search(make, _splits(), QUICK, 0, Saved(), Hooks(save=lambda saved: None, report=lambda steps: None))


def test_dropout_is_on_in_training_alone() -> None:
    trained, plain = (_searched(partial(_dropping, share)) for share in (0.5, 0.0))
    assert not torch.equal(trained.chosen_weights["project.weight"], plain.chosen_weights["project.weight"])
    head = _dropping().train()
    assert evaluate(head, _data(_ordered(64, 2))) == evaluate(head, _data(_ordered(64, 2)))


@pytest.mark.faults
@pytest.mark.parametrize("make", [_make, _dropping, _two_experts])
@pytest.mark.parametrize("saves", [1, 2, 5, 9])
def test_a_killed_training_is_resumed_to_the_same_weights_bit_for_bit(
    tmp_path: Path, saves: int, make: Callable[[], Head]
) -> None:
    path, left = tmp_path / "checkpoint.safetensors", [saves]
    whole = _searched(make)

    def save(saved: Saved) -> None:
        saved.write(path)
        left[0] -= 1
        if left[0] == 0:
            raise KilledError

    hooks = Hooks(save=save, report=lambda steps: None, seconds=0)
    with pytest.raises(KilledError):
        search(make, _splits(), QUICK, 0, Saved(), hooks)
    again = search(make, _splits(), QUICK, 0, Saved.read(path), hooks)
    assert again.chosen == whole.chosen
    assert again.tried == whole.tried
    assert all(torch.equal(again.chosen_weights[name], each) for name, each in whole.chosen_weights.items())


def test_a_damaged_checkpoint_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    saved, _ = _trained()
    saved.write(path)
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(RunError, match=r"is damaged .its SHA-256 differs.; delete it to start this run over"):
        Saved.read(path)


def test_training_fails_if_the_loss_is_nan_at_every_rate() -> None:
    class Nan(Lookup):
        def __missing__(self, text: str) -> TextStates:
            states = super().__missing__(text)
            return TextStates(states.states_LxD * torch.nan, states.word_L)

    data = StateData(_ordered(32, 1), Nan(), kind="text", labels=("red", "blue"))
    hooks = Hooks(save=lambda saved: None, report=lambda steps: None)
    with pytest.raises(RunError, match="failed at every learning rate"):
        search(_make, Splits(train=data, validation=data), QUICK, 0, Saved(), hooks)


def test_a_choice_is_scored_text_by_text_and_may_have_any_number_of_them() -> None:
    examples = [
        Example(name="a", group="a", texts=("red is", "blue is"), label=1),
        Example(name="b", group="b", texts=("old", "near", "a blue"), label=2),
    ]
    data = StateData(examples, Lookup(), kind="choice", labels=())
    head = build(HeadSpec("mean"), HeadShape(d_states=D, d_out=1, width=4, pool="mean"))
    batch = data.batch([0, 1])
    scores = scores_of(head, batch, "choice")
    assert scores.shape == (2, 3)
    assert scores[0, 2] == -torch.inf
    alone = torch.stack([scores_of(head, data.batch([place]), "choice")[0].log_softmax(0)[e.label]
                         for place, e in enumerate(examples)])  # fmt: skip
    torch.testing.assert_close(loss_of(scores_of(head, batch, "choice"), batch, "choice"), -alone.mean())
    assert data.judge(0, torch.tensor([0.0, 1.0, -torch.inf])) == (1.0, 1.0)


class Pieces(Lookup):
    """Every word in two pieces."""

    def __missing__(self, text: str) -> TextStates:
        states = super().__missing__(text)
        return TextStates(states.states_LxD.repeat_interleave(2, 0), states.word_L.repeat_interleave(2))


@pytest.mark.parametrize("window", [None, 0])
def test_a_word_is_labelled_at_its_first_piece(window: int | None) -> None:
    labels, tags = ("O", "B-X", "I-X"), (0, 1, 2, 1)
    example = Example(name="a", group="a", texts=("the red is blue",), tags=tags)
    data = StateData([example], Pieces(), kind="tokens", labels=labels, window=window)
    batch = data.batch([0])
    assert sorted(batch.target[0][batch.target[0] >= 0].tolist()) == sorted(tags)
    scores_LxO = torch.zeros(8, 3)
    graded = batch.target[0] >= 0
    scores_LxO[graded] = torch.nn.functional.one_hot(batch.target[0][graded], 3).float()
    numerator, denominator = data.judge(0, scores_LxO)
    assert numerator / denominator == span_f1([[labels[t] for t in tags]], [[labels[t] for t in tags]]) == 1


def test_denormal_numbers_are_taken_for_0_in_training_alone() -> None:
    can = torch.set_flush_denormal(True)
    torch.set_flush_denormal(False)
    if not can:
        pytest.skip("this processor cannot take denormal numbers for 0")
    seen = []
    hooks = Hooks(
        save=lambda saved: None, report=lambda steps: seen.append(float(torch.full((8,), 2e-39).div(2).sum()))
    )
    search(_make, _splits(), QUICK, 0, Saved(), hooks)
    assert set(seen) == {0.0}
    assert float(torch.full((8,), 2e-39).div(2).sum()) > 0
