"""A Transformer that simulates a quantised LSTM."""

import numpy as np
import pytest
import torch

from retrieval_gap.decoding.decode import decode
from retrieval_gap.tasks.api import TaskConfig, TaskError
from retrieval_gap.theory.constructions.quantised_lstm import LETTER_0, LstmTask
from tests.theory.constructions.checks import assert_causal_and_stepwise, built, is_exact, tokens_of

HOW, TASK = "transformer_cot", "quantised_lstm"


@pytest.mark.parametrize("weights", range(4))
@pytest.mark.parametrize("n", [2, 3, 8, 21])
def test_it_writes_the_lstms_states_and_letters_token_for_token(n, weights):
    assert is_exact(*built(TASK, n, how=HOW, options=f"weights={weights}"), samples=10)


@pytest.mark.parametrize("options", ["hidden=1", "hidden=5 letters=3", "letters=2 levels=5", "letters=12 levels=31"])
def test_lstms_of_other_sizes_are_simulated(options):
    assert is_exact(*built(TASK, 7, how=HOW, options=options), samples=5)


def letters_of(task: LstmTask, tokens_BxL: np.ndarray) -> np.ndarray:
    """The letter at the end of each block."""
    block = len(task.elements) + 1
    return tokens_BxL[:, task.config.n + 1 + block : -1 : block] - LETTER_0


def test_the_letters_equal_those_decoded_from_the_lstm_itself():
    """The LSTM's state is rounded at each step, and it writes no states."""
    n = 9
    construction, task = built(TASK, n, how=HOW)
    assert isinstance(task, LstmTask)
    words_BxN = task.sample(np.arange(12)).tokens_BxL[:, 1 : n + 1] - LETTER_0
    told = decode(task.lstm, words_BxN, np.full(12, n, np.int32), answers=(-1,), max_length=2 * n)
    prompts_BxP = task.sample(np.arange(12)).tokens_BxL[:, : n + 2]
    written = decode(
        construction, prompts_BxP, np.full(12, n + 2, np.int32), answers=task.answers, max_length=task.max_length
    )
    assert np.array_equal(letters_of(task, written.tokens_BxL)[:, n - 1 :], told.tokens_BxL[:, n:])


def test_the_lstm_is_worth_simulating():
    """Its states and letters differ between words, and between weights."""
    states = set()
    for weights in range(3):
        task = LstmTask(TaskConfig(n=12, mode="cot", options=f"weights={weights}"))
        tokens_BxL = task.sample(np.arange(10)).tokens_BxL
        states |= {tuple(row) for row in tokens_BxL[:, -8:].tolist()}
        assert len(np.unique(letters_of(task, tokens_BxL))) >= 3
        assert len(np.unique(tokens_BxL[:, 14:], axis=0)) == 10
    assert len(states) >= 6


def test_it_is_causal_and_steps_equal_the_forward_pass():
    construction, task = built(TASK, 3, how=HOW)
    assert_causal_and_stepwise(construction, task, change=20)


def test_bits_per_number_grow_with_the_length_and_weights_do_not():
    models = [built(TASK, n, how=HOW)[0] for n in (8, 32, 128)]
    assert len({model.parameter_count() for model in models}) == 1
    assert [model.precision.number_bits for model in models] == sorted({m.precision.number_bits for m in models})


def test_it_simulates_its_own_lstm_and_no_other():
    construction, task = built(TASK, 6, how=HOW, options="weights=0")
    other = LstmTask(TaskConfig(n=6, mode="cot", split="test", options="weights=1"))
    assert not is_exact(construction, other, samples=5)
    (gates,) = [k for k, layer in enumerate(construction.layers) if "pre_i0" in layer.writes]
    construction.parts[gates].gate_up_2HxD[0] *= -1
    assert not is_exact(construction, task, samples=5)


def test_a_state_is_rounded_to_levels_and_0_is_one_of_them():
    task = LstmTask(TaskConfig(n=4, mode="cot"))
    assert task.lstm.level(torch.zeros(1), 1.0) == 7
    assert task.lstm.level(torch.tensor([-9.0, -1.0, 1.0, 9.0]), 1.0).tolist() == [0, 0, 14, 14]
    with pytest.raises(TaskError, match="levels = 8 is even"):
        LstmTask(TaskConfig(n=4, mode="cot", options="levels=8"))


def test_a_sample_does_not_depend_on_its_batch():
    task = LstmTask(TaskConfig(n=5, mode="cot"))
    assert torch.equal(tokens_of(task, 6)[4:5], torch.from_numpy(task.sample(np.array([4])).tokens_BxL).long())
