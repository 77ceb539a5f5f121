"""A model does not read the tokens that its task calls unread, so an answer does not help with the next ones."""

import pytest
import torch

from retrieval_gap.experiments.trained.config import RunConfig
from retrieval_gap.experiments.trained.run import new_model
from retrieval_gap.machine.devices import CPU
from retrieval_gap.models import ModelConfig, SequenceModel
from retrieval_gap.tasks.api import PAD
from tests.models.helpers import SMALL, VOCAB, random_tokens

UNREAD = (5, 17)


def model_of(name: str, unread: tuple[int, ...] = UNREAD) -> SequenceModel:
    return SequenceModel(ModelConfig(architecture=SMALL[name], vocab_size=VOCAB, unread=unread))


def with_other_answers(tokens: torch.Tensor) -> torch.Tensor:
    return torch.where(tokens == UNREAD[0], UNREAD[1], torch.where(tokens == UNREAD[1], 0, tokens))


@pytest.mark.parametrize("name", SMALL)
def test_logits_do_not_depend_on_which_unread_token_is_there(name: str) -> None:
    model, tokens = model_of(name), random_tokens(4, 20)
    assert torch.isin(tokens, torch.tensor(UNREAD)).any()
    with torch.no_grad():
        assert torch.equal(model(tokens), model(with_other_answers(tokens)))
        assert not torch.equal(model_of(name, ())(tokens), model_of(name, ())(with_other_answers(tokens)))


def test_steps_do_not_read_unread_tokens() -> None:
    model, tokens = model_of("mamba"), random_tokens(4, 20)
    with torch.no_grad():
        _, state = model.prefill(tokens[:, :7])
        _, changed = model.prefill(with_other_answers(tokens)[:, :7])
        for t in range(7, 20):
            told, state = model.step(tokens[:, t], state)
            other, changed = model.step(with_other_answers(tokens)[:, t], changed)
            assert torch.equal(told, other)
        torch.testing.assert_close(told, model(tokens)[:, -1], rtol=1e-4, atol=1e-5)


def test_unread_tokens_are_still_learned_as_targets() -> None:
    model, tokens = model_of("lstm"), random_tokens(4, 20)
    mask = torch.isin(tokens, torch.tensor(UNREAD))
    model.loss(tokens, mask).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters() if p.requires_grad)


def test_a_run_takes_its_unread_tokens_from_its_task() -> None:
    config = RunConfig(task="word_problem", n=6, mode="direct", arch="lstm", size="tiny", options="ask=each")
    task = config.build_task("train")
    assert task.answers
    assert (new_model(config, task, CPU).read_as_V[list(task.answers)] == PAD).all()
