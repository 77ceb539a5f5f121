"""The probe finds how many bits a known state holds, and a cut that changes nothing leaves the model's output as is."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from retrieval_gap.decoding.decode import decode
from retrieval_gap.decoding.evaluation import evaluate
from retrieval_gap.machine.errors import UsageError
from retrieval_gap.models import SequenceModel
from retrieval_gap.models.mixer import State
from retrieval_gap.tasks.api import Batch, Task, TaskConfig, questions_of
from retrieval_gap.tasks.istree import IsTree
from retrieval_gap.tasks.registry import load_task
from retrieval_gap.theory.bounds import bound_of
from retrieval_gap.theory.probe import Carried, CutModel, ProbeRow, bits_used, cut_of, probe
from tests.models.helpers import SMALL, small_model

N, BITS_A_VALUE = 6, 4
OF_FLOATS = [name for name in SMALL if name != "binary gru"]


def task_of(name: str, n: int, mode: str = "direct", split: str = "test", options: str = "") -> Task:
    return load_task(name)(TaskConfig(n=n, mode=mode, split=split, options=options))  # type: ignore[arg-type]


class Notebook:
    """A model that solves Index: its state is each token's number as four signs, and the position to write next."""

    device = torch.device("cpu")

    def __init__(self, task: Task) -> None:
        self.vocab, self.first_value = len(task.vocabulary), task.answers[0]
        self.first_place = task.vocabulary.index("1")
        values = torch.arange(2**BITS_A_VALUE)
        self.code_VxK = ((values[:, None] >> torch.arange(BITS_A_VALUE)) & 1).float() * 2 - 1

    def init_state(self, batch: int) -> State:
        return torch.zeros(batch, N, BITS_A_VALUE), torch.zeros(batch, dtype=torch.int16)

    def prefill(self, tokens_BxL: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        state = self.init_state(len(tokens_BxL)) if state is None else state
        for token_B in tokens_BxL.long().unbind(1):
            logits_BxV, state = self.step(token_B, state)
        return logits_BxV, state

    def step(self, token_B: Tensor, state: State) -> tuple[Tensor, State]:
        signs_BxNxK, place_B = state[0].clone(), state[1].clone()
        value_B = token_B - self.first_value
        is_value_B = (value_B >= 0) & (value_B < len(self.code_VxK)) & (place_B < N)
        rows = is_value_B.nonzero()[:, 0]
        signs_BxNxK[rows, place_B[rows].long()] = self.code_VxK[value_B[rows]]
        place_B[rows] += 1
        asked_B = (token_B - self.first_place).clamp(0, N - 1)
        logits_BxV = torch.zeros(len(token_B), self.vocab)
        told_BxK = signs_BxNxK[torch.arange(len(token_B)), asked_B]
        logits_BxV[:, self.first_value : self.first_value + len(self.code_VxK)] = 10 + told_BxK @ self.code_VxK.T
        return logits_BxV, (signs_BxNxK, place_B)


class ComplexNotebook(Notebook):
    """The same with two signs in each complex number."""

    def init_state(self, batch: int) -> State:
        return torch.zeros(batch, N, BITS_A_VALUE // 2, dtype=torch.complex64), torch.zeros(batch, dtype=torch.int16)

    def step(self, token_B: Tensor, state: State) -> tuple[Tensor, State]:
        logits_BxV, (signs, place_B) = super().step(token_B, (torch.view_as_real(state[0]).flatten(-2), state[1]))
        return logits_BxV, (torch.view_as_complex(signs.unflatten(-1, (-1, 2))), place_B)


def test_real_and_imaginary_parts_are_elements_of_a_complex_state() -> None:
    task, train = task_of("index", N), task_of("index", N, split="train")
    carried = [Carried(bits=0), Carried(bits=1), Carried(bits=1, rank=BITS_A_VALUE * N)]
    whole, none, one, components = probe(ComplexNotebook(task), task, train, 400, carried)
    assert whole.accuracy_strict == one.accuracy_strict == 1.0
    assert none.accuracy_strict == pytest.approx(1 / 16, abs=0.054)  # 4.5 standard errors
    assert [row.state_bits - 16 for row in (whole, none, one)] == [32 * 4 * N, 0, 4 * N]
    assert 1 / 16 < components.accuracy_strict < 1


def rows_of(carried: list[Carried], samples: int = 400, **kwargs: object) -> list[ProbeRow]:
    task = task_of("index", N)
    train = task_of("index", N, split="train")
    return probe(Notebook(task), task, train, samples, carried, **kwargs)  # type: ignore[arg-type]


def test_a_state_of_one_bit_per_element_keeps_all_with_one_bit_and_nothing_with_none() -> None:
    whole, none, one, eight = rows_of([Carried(bits=0), Carried(bits=1), Carried(bits=8)])
    assert whole.accuracy_strict == one.accuracy_strict == eight.accuracy_strict == 1.0
    assert none.accuracy_strict == pytest.approx(1 / 16, abs=0.054)  # 4.5 standard errors
    counter = 16
    assert [row.state_bits for row in (whole, none, one, eight)] == [
        32 * 4 * N + counter,
        counter,
        4 * N + counter,
        8 * 4 * N + counter,
    ]
    used = bits_used([whole, none, one, eight])
    needed = bound_of(task_of("index", N)).bits_needed
    assert used.bits - counter == needed == 4 * N


def test_too_few_components_lose_accuracy_and_no_row_is_above_the_ceiling() -> None:
    ceiling = bound_of(task_of("index", N)).ceiling
    every = 4 * N
    rows = rows_of([Carried(bits=b, rank=r) for r in (1, 6, 12, every) for b in (1, 2, 8)])
    for row in rows[1:]:
        assert row.strict_low <= ceiling(row.state_bits)
    by = {(row.rank, row.bits): row for row in rows}
    assert by[1, 8].accuracy_strict < by[12, 8].accuracy_strict < by[every, 8].accuracy_strict == 1.0
    assert by[12, 2].state_bits == 12 * 2 + 16


def test_stochastic_rounding_depends_on_its_seed_alone() -> None:
    carried = [Carried(bits=2, rank=20)]
    first, again, other = (rows_of(carried, rounding="stochastic", seed=seed)[1] for seed in (0, 0, 1))
    assert first == again
    assert first != other


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize(
    ("task_name", "mode", "n"), [("index", "direct", 6), ("istree", "cot", 6), ("index", "rag", 5)]
)
def test_a_cut_that_changes_nothing_changes_no_token(name: str, task_name: str, mode: str, n: int) -> None:
    task = task_of(task_name, n, mode)
    model = small_model(name, vocab_size=len(task.vocabulary))
    gold = task.sample(np.arange(30))
    cut = CutModel(model, cut_of(task), lambda _: None)
    told = [
        decode(
            m,
            gold.tokens_BxL,
            gold.prompt_len_B,
            answers=task.answers,
            max_length=task.max_length,
            question_BxQx2=questions_of(gold, task),
        )
        for m in (model, cut)
    ]
    assert told[0].tokens_BxL.tolist() == told[1].tokens_BxL.tolist()


@pytest.mark.parametrize(
    "name", [name for name in OF_FLOATS if name != "offset transformer"]
)  # its position, an integer, is not quantised
def test_the_unchanged_state_has_the_accuracy_of_eval_and_the_models_bits(name: str) -> None:
    task, train = task_of("istree", 6), task_of("istree", 6, split="train")
    model = small_model(name, vocab_size=len(task.vocabulary))
    with torch.no_grad():  # so that it answers TRUE to some and FALSE to others
        model.embedding.weight[3:5] *= 20
    whole, half = probe(model, task, train, 60, [Carried(bits=16)])
    told = evaluate(model, task, 60)
    assert 0 < told.accuracy_strict < 1
    assert (whole.accuracy, whole.accuracy_strict) == (told.accuracy, told.accuracy_strict)
    assert whole.state_bits == model.state_bits(cut_of(task)) == 2 * half.state_bits


def test_logits_after_the_cut_depend_on_the_carried_state_alone() -> None:
    """With no bits, a query has the same logits after every sequence."""
    task, train = task_of("index", 5), task_of("index", 5, split="train")
    for name in OF_FLOATS:
        model = small_model(name, vocab_size=len(task.vocabulary))
        length = cut_of(task)
        tokens_BxL = torch.from_numpy(task.sample(np.arange(200)).tokens_BxL[:, : length + 1]).long()
        logits_BxV = _after_no_bits(model, train, length, tokens_BxL)
        for place in tokens_BxL[:, -1].unique():
            same_BxV = logits_BxV[tokens_BxL[:, -1] == place]
            torch.testing.assert_close(same_BxV, same_BxV[:1].expand_as(same_BxV), rtol=0, atol=1e-5)
            assert len(tokens_BxL[tokens_BxL[:, -1] == place].unique(dim=0)) > 1


@torch.inference_mode()
def _after_no_bits(model: SequenceModel, train: Task, length: int, tokens_BxL: Tensor) -> Tensor:
    from retrieval_gap.theory.probe import _calibrate, _change

    x_CxF, _, _ = _calibrate(CutModel(model, length, lambda _: None), train)
    cut = CutModel(model, length, _change(Carried(bits=0), x_CxF, None, "nearest", 0))
    return cut.prefill(tokens_BxL)[0]


def test_the_cut_is_before_the_question_or_the_last_token_of_the_prompt() -> None:
    assert cut_of(task_of("index", 9)) == len(["[BOS]", *"abcdefghi", "[EOS]"])
    assert cut_of(task_of("copy", 9)) == len(["[BOS]", *"abcdefghi"])
    assert cut_of(task_of("mqar", 64, options="pairs=5")) == len(["[BOS]", *5 * ("key", "value")])
    assert cut_of(task_of("istree", 8)) == 1 + 3 * 7

    class Asked(IsTree):
        context_len = 5

    assert cut_of(Asked(TaskConfig(n=8))) == 5


def test_a_rank_above_the_number_of_elements_is_reduced_to_it() -> None:
    rows = rows_of([Carried(bits=1, rank=rank) for rank in (5, 24, 64, 1000)], 20)
    assert [(row.rank, row.state_bits) for row in rows[1:]] == [(5, 5 + 16), (24, 24 + 16)]


def test_a_task_with_prompts_of_different_lengths_and_no_context_len_is_refused() -> None:
    class Uneven(IsTree):
        def sample(self, index_B: np.ndarray) -> Batch:
            batch = super().sample(index_B)
            return replace(batch, prompt_len_B=batch.prompt_len_B - index_B.astype(np.int32) % 2)

    with pytest.raises(UsageError, match="context_len"):
        cut_of(Uneven(TaskConfig(n=8)))


def test_a_model_without_a_state_is_refused() -> None:
    class Forgetful(Notebook):
        def step(self, token_B: Tensor, state: State) -> tuple[Tensor, State]:
            return super().step(token_B, (torch.zeros(len(token_B), N, BITS_A_VALUE), state[-1]))[0], state[-1:]

        def prefill(self, tokens_BxL: Tensor, state: State | None = None) -> tuple[Tensor, State]:
            return super().prefill(tokens_BxL, state or (torch.zeros(len(tokens_BxL), dtype=torch.int16),))

    task = task_of("index", N)
    with pytest.raises(UsageError, match="no state"):
        probe(Forgetful(task), task, task, 10, [Carried(bits=1)])


def row(bits: int, strict: float, half: float) -> ProbeRow:
    return ProbeRow(
        bits=1,
        rank=0,
        state_bits=bits,
        accuracy=strict,
        accuracy_strict=strict,
        strict_low=strict - half,
        strict_high=strict + half,
    )


def test_the_bits_used_are_the_fewest_that_keep_99_percent_and_have_an_interval() -> None:
    used = bits_used([row(640, 0.9, 0.02), row(10, 0.5, 0.02), row(20, 0.88, 0.02), row(40, 0.895, 0.002)])
    assert (used.low, used.bits, used.high) == (20, 40, 40)
    assert bits_used([row(640, 0.9, 0.02)]).high is None


def test_a_boolean_state_is_measured_unchanged_and_not_quantised_again() -> None:
    task, train = task_of("index", N), task_of("index", N, split="train")
    model = small_model("binary gru", vocab_size=len(task.vocabulary))
    (row,) = probe(model, task, train, 50, [Carried(bits=1), Carried(bits=2, rank=1)])
    assert (row.bits, row.state_bits) == (None, 2 * 5)
