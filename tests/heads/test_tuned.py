"""A head and its model trained together: gradients reach the model, and every learner begins with the same weights."""

from pathlib import Path

import pytest
import torch

from retrieval_gap.heads import Head, HeadShape, HeadSpec, build
from retrieval_gap.heads.data import StateData, loss_of, scores_of
from retrieval_gap.heads.tuned import LiveData, Tuning
from retrieval_gap.llm.embeddings import StatesConfig, states_of
from retrieval_gap.llm.embeddings.reader import StateReader
from retrieval_gap.tasks.texts import Example
from tests.llm.embeddings.tiny import KINDS, LAYERS, WIDTH, save

TEXTS = ("Club 3 plays chess", "Where was the founder born?", "Town 7.")
EXAMPLES = [Example(name=text, group=text, texts=(text,), label=i % 2) for i, text in enumerate(TEXTS)]
HOW = {"kind": "text", "labels": ("a", "b")}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {kind: save(kind, tmp_path_factory.mktemp(kind)) for kind in KINDS}


def _tuning(folder: Path, layer: int = -1) -> tuple[Tuning, StateReader]:
    reader = StateReader(StatesConfig(model=str(folder), precision="fp32", layer=layer))
    return Tuning(reader, 1e-3), reader


def _head(seed: int = 0) -> Head:
    return build(HeadSpec("gru"), HeadShape(d_states=WIDTH, d_out=2, width=4, pool="final"), seed)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("window", [None, 0])
def test_an_untrained_model_gives_the_states_of_the_store(
    folders: dict[str, Path], tmp_path: Path, kind: str, window: int | None
) -> None:
    _, reader = _tuning(folders[kind])
    store = states_of(StatesConfig(model=str(folders[kind]), precision="fp32"), TEXTS, tmp_path)
    live, stored = LiveData(EXAMPLES, reader, window=window, **HOW), StateData(EXAMPLES, store, window=window, **HOW)
    one, other = live.batch([0, 1, 2]), stored.batch([0, 1, 2])
    torch.testing.assert_close(one.states_RxLxD.detach(), other.states_RxLxD, atol=1e-4, rtol=1e-4)
    assert torch.equal(one.mask_RxL, other.mask_RxL)


@pytest.mark.parametrize("kind", KINDS)
def test_every_weight_that_is_trained_gets_a_gradient(folders: dict[str, Path], kind: str) -> None:
    tuning, reader = _tuning(folders[kind])
    learner = tuning.learner(_head())
    batch = LiveData(EXAMPLES, reader, **HOW).batch([0, 1])
    loss_of(scores_of(learner, batch, "text"), batch, "text").backward()
    trained = learner.trained_parameters()
    assert any(name.startswith("model.") for name in trained)
    assert all(parameter.grad is not None for parameter in trained.values())


def test_layers_above_the_one_that_is_read_are_not_trained(folders: dict[str, Path]) -> None:
    for layer, trained_layers in ((1, {"0"}), (LAYERS, {"0", "1"})):
        tuning, _ = _tuning(folders["bert"], layer=layer)
        names = [name for name in tuning.learner(_head()).trained_parameters() if ".layer." in name]
        assert {name.split(".layer.")[1].split(".")[0] for name in names} == trained_layers


def test_every_learner_begins_with_the_same_model(folders: dict[str, Path]) -> None:
    tuning, reader = _tuning(folders["bert"])
    data = LiveData(EXAMPLES, reader, **HOW)
    learner = tuning.learner(_head())
    with torch.no_grad():
        before = scores_of(learner, data.batch([0, 1, 2]), "text")
        for parameter in learner.trained_parameters().values():
            parameter.add_(0.1)
        assert not torch.equal(scores_of(learner, data.batch([0, 1, 2]), "text"), before)
        assert torch.equal(scores_of(tuning.learner(_head()), data.batch([0, 1, 2]), "text"), before)


def test_head_and_model_have_their_own_learning_rates(folders: dict[str, Path]) -> None:
    tuning, _ = _tuning(folders["bert"])
    learner = tuning.learner(_head())
    head, model = learner.parameter_groups(0.5)
    assert (head["lr"], model["lr"]) == (0.5, 1e-3)
    assert sum(p.numel() for p in head["params"]) == learner.head.parameter_count()
    assert len(head["params"]) + len(model["params"]) == len(learner.trained_parameters())


def test_only_the_head_goes_into_training_mode(folders: dict[str, Path]) -> None:
    learner = _tuning(folders["bert"])[0].learner(_head()).train()
    assert learner.head.training
    assert not any(module.training for module in learner.model.modules())
