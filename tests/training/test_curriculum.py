"""A curriculum trains on the samples of each size, in the vocabulary of the largest, for equal shares of the steps."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval_gap.experiments.trained.config import RunConfig
from retrieval_gap.machine.errors import UsageError
from retrieval_gap.tasks.api import Batch, Task, TaskConfig, TaskError
from retrieval_gap.tasks.registry import load_task
from retrieval_gap.training.config import TrainingConfig
from retrieval_gap.training.curriculum import Curriculum, sizes_of

CONFIG = TrainingConfig(samples=60, batch_size=5, warmup_samples=10)
CELL = RunConfig(task="index", mode="direct", n=16, arch="lstm", size="tiny", samples=64, warmup_samples=0)


def tasks(name: str, *sizes: int) -> list[Task]:
    return [load_task(name)(TaskConfig(n=n, mode=load_task(name).modes[0])) for n in sizes]


def words(task: Task, tokens_BxL: np.ndarray) -> list[list[str]]:
    return [[task.vocabulary[token] for token in row] for row in tokens_BxL]


@pytest.mark.parametrize(("name", "sizes"), [("index", (4, 8, 16)), ("istree", (6, 12)), ("mqar", (4, 8))])
def test_each_size_is_trained_on_in_turn_in_the_words_of_the_largest(name: str, sizes: tuple[int, ...]) -> None:
    each = tasks(name, *sizes)
    curriculum = Curriculum(each, CONFIG)
    for step in range(CONFIG.steps):
        numbers = np.arange(5 * step, 5 * step + 5)
        task = each[step * len(sizes) // CONFIG.steps]
        drawn, own = curriculum.sample(numbers), task.sample(numbers)
        assert words(each[-1], drawn.tokens_BxL) == words(task, own.tokens_BxL)
        assert [each[-1].vocabulary[token] for token in drawn.answer_B] == [task.vocabulary[t] for t in own.answer_B]
        np.testing.assert_array_equal(drawn.loss_mask_BxL, own.loss_mask_BxL)
    assert curriculum.max_length == each[-1].max_length


@given(step=st.integers(0, 11), first=st.integers(0, 4), last=st.integers(1, 5))
def test_the_share_of_a_rank_is_a_part_of_the_step(step: int, first: int, last: int) -> None:
    curriculum = Curriculum(tasks("index", 4, 8, 16), CONFIG)
    share = np.arange(5 * step, 5 * step + 5)[first : max(first + 1, last)]
    whole = curriculum.sample(np.arange(5 * step, 5 * step + 5))
    part = curriculum.sample(share)
    np.testing.assert_array_equal(part.tokens_BxL, whole.tokens_BxL[share - 5 * step])


@pytest.mark.parametrize("written", ["16", "8+4", "4+4", "4+", "+", "a", "4,8", "32", "4 8"])
def test_sizes_that_do_not_rise_to_the_runs_own_are_refused(written: str) -> None:
    with pytest.raises(UsageError, match=r"--curriculum .* rising problem sizes below 16"):
        sizes_of(written, 16)


def test_sizes_end_with_the_runs_own() -> None:
    assert sizes_of("4+8", 16) == (4, 8, 16)
    assert sizes_of("", 16) == (16,)


def test_a_size_that_the_task_does_not_have_is_refused_before_the_run() -> None:
    with pytest.raises(TaskError, match="n = 1 is outside"):
        replace(CELL, curriculum="1").validate()


STAGES = replace(CELL, samples=48, batch_size=16, curriculum="6+8")  # one step for each size


def stages(cell: RunConfig) -> tuple[Task, list[Batch]]:
    own = cell.build_task("train")
    data = cell.training_data(own)
    return own, [data.sample(np.arange(first, first + 16)) for first in (0, 16, 32)]


@pytest.mark.parametrize(
    ("name", "options"),
    [("index", ""), ("associative_recall", ""), ("counting", "most=2"), ("last_write", ""), ("position_retrieval", "")],
)
def test_answers_of_small_problems_are_answers_at_the_largest_size_and_queries_are_not(name: str, options: str) -> None:
    own, batches = stages(replace(STAGES, task=name, options=options, curriculum="8+12"))
    for batch in batches:
        asked = {row[prompt - 1] for row, prompt in zip(batch.tokens_BxL, batch.prompt_len_B, strict=True)}
        assert set(batch.answer_B) <= set(own.answers)
        assert not asked & set(own.answers)


@pytest.mark.parametrize(("options", "values"), [("", 8), ("values=5", 5)])
def test_recall_has_its_keys_and_all_its_values_from_the_first_size_on(options: str, values: int) -> None:
    own, batches = stages(replace(STAGES, task="associative_recall", options=options))
    for batch, pairs in zip(batches, (3, 4, 8), strict=True):
        told = [[own.roles[token] for token in row[1 : 1 + 2 * pairs]] for row in batch.tokens_BxL]
        assert {tuple(row[::2]) for row in told} == {tuple(f"key {key}" for key in range(1, pairs + 1))}
        assert {role for row in told for role in row[1::2]} == {f"value {value}" for value in range(1, values + 1)}


def test_only_a_curriculum_by_roles_has_the_roles_in_its_hash() -> None:
    recall = replace(CELL, task="associative_recall", n=16)
    assert "curriculum_by" not in recall.hashed_values()
    assert "curriculum_by" not in replace(CELL, curriculum="8").hashed_values()
    assert replace(recall, curriculum="8").hashed_values()["curriculum_by"] == "roles"


def test_a_token_that_the_largest_size_lacks_is_named() -> None:
    small, large = load_task("istree")(TaskConfig(n=8, mode="cot", options="names=20")), *tasks("istree", 12)
    with pytest.raises(UsageError, match="n = 8 has a token that n = 12 lacks: 12"):
        Curriculum([small, large], CONFIG)


def test_a_curriculum_is_part_of_a_runs_name_however_it_is_spelled() -> None:
    assert "curriculum" not in CELL.hashed_values()
    assert replace(CELL, curriculum="4+8") == replace(CELL, curriculum=" 4+08")
    assert len({replace(CELL, curriculum=written).hash() for written in ("", "4", "8", "4+8")}) == 4
    assert "--curriculum 4+8" in replace(CELL, curriculum="4+8").command()
