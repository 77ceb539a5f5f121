"""`retrieval-gap bound` prints ceilings that hold, whatever the task."""

import math
from collections import Counter, defaultdict
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from retrieval_gap.cli import main
from retrieval_gap.errors import UsageError
from retrieval_gap.theory.bounds import BOUNDS, Bound, bound_of
from retrieval_gap.theory.probe import cut_of
from tasks.api import TaskConfig
from tasks.index import Index
from tasks.istree import IsTree
from tasks.registry import load_task, task_names


def described(name: str, n: int, *, answers: int, questions: int = 1, **options: int) -> Any:
    """What a bound reads of a task."""
    told = {"config": SimpleNamespace(n=n), "options": SimpleNamespace(**options), "family": "two_star"}
    return SimpleNamespace(name=name, answers=tuple(range(answers)), questions=questions, **told)


CASES = {
    "index": (described("index", 12, answers=16), 48.0, 1 / 16),
    "associative_recall": (described("associative_recall", 12, answers=8), 18.0, 1 / 8),
    "cgram_retrieval": (described("cgram_retrieval", 14, answers=16, c=3), 16.0, 1 / 16),
    "counting": (described("counting", 13, answers=2, most=3), 8.0, 2 / 3),
    "copy": (described("copy", 5, answers=4, questions=5), 10.0, 1 / 4),
    "mqar": (described("mqar", 64, answers=32, questions=3), math.log2(32 * 31 * 30), 1 / 32),
    "istree": (described("istree", 16, answers=2), 13.0, 1 / 2),
}


@pytest.mark.parametrize("name", BOUNDS)
def test_a_bound_goes_from_the_prior_up_to_one_at_the_bits_needed(name: str) -> None:
    task, needed, prior = CASES[name]
    bound: Bound = bound_of(task)
    assert bound.bits_needed == pytest.approx(needed)
    assert bound.ceiling(0) == pytest.approx(prior)
    enough = math.ceil(needed - 1e-9)
    ceilings = bound.ceiling(np.arange(enough + 2))
    assert (np.diff(ceilings) >= 0).all()
    assert (ceilings[-2:] == 1).all()
    assert ceilings[-3] < 1


@pytest.mark.parametrize("name", ["copy", "mqar"])
def test_whole_traces_are_no_more_than_the_states(name: str) -> None:
    task, needed, _ = CASES[name]
    whole = bound_of(task).exact_trace
    assert whole is not None
    bits = np.arange(math.ceil(needed) + 3)
    assert whole(bits) == pytest.approx(np.minimum(1, 2.0 ** (bits - needed)))


def test_real_tasks_are_read_as_they_are_configured() -> None:
    assert bound_of(Index(TaskConfig(n=20))).bits_needed == 80
    assert bound_of(IsTree(TaskConfig(n=20))).bits_needed == 17


@pytest.mark.parametrize("name", sorted({*BOUNDS} & {*task_names()} - {"istree", "mqar"}))
def test_the_best_answer_to_each_question_by_itself_is_as_good_as_no_state(name: str) -> None:
    """Answers are learned by question alone from one half of a sample, and graded on the other."""
    task, samples = load_task(name)(TaskConfig(n=24)), 20_000
    bound, batch = bound_of(task), task.sample(np.arange(samples))
    asked = [
        row[cut_of(task) : length].tobytes() for row, length in zip(batch.tokens_BxL, batch.prompt_len_B, strict=True)
    ]
    answers = batch.tokens_BxL[np.arange(samples), batch.prompt_len_B].tolist()
    seen: dict[bytes, Counter[int]] = defaultdict(Counter)
    for question, answer in zip(asked[: samples // 2], answers, strict=False):
        seen[question][answer] += 1
    graded = list(zip(asked, answers, strict=True))[samples // 2 :]
    right = sum(seen[question].most_common(1)[0][0] == answer for question, answer in graded)
    prior = float(bound.ceiling(0))
    assert right / len(graded) == pytest.approx(prior, abs=4.5 * math.sqrt(prior * (1 - prior) / len(graded)))
    assert bound.bits_needed == pytest.approx(getattr(task, "bits_to_cross", bound.bits_needed))


@pytest.mark.parametrize("task", [IsTree(TaskConfig(n=8, family="path_like")), SimpleNamespace(name="parity")])
def test_a_task_without_a_bound_is_named(task: Any) -> None:
    with pytest.raises(UsageError, match=r"unknown bounded .* \(choose from"):
        bound_of(task)


def test_the_command_prints_a_line_for_each_number_of_bits(capsys: pytest.CaptureFixture[str]) -> None:
    assert main("bound index --length 64 --bits 0,16,255,256,1000000".split()) == 0
    title, *lines = capsys.readouterr().out.splitlines()
    assert title.startswith("index, 64 tokens of 16 values: no reader is always right with fewer than 256 bits")
    told = dict(line.split(" bits: ") for line in lines)
    assert list(told) == ["0", "16", "255", "256", "1000000"]
    values = [float(number) for number in told.values()]
    assert values[0] == 1 / 16
    assert values[0] < values[1] < values[2] < values[3] == values[4] == 1


def test_the_command_takes_one_number_and_either_name_of_the_size(capsys: pytest.CaptureFixture[str]) -> None:
    for line in ("bound istree --n-nodes 16 --bits 0", "bound istree --n 16 --bits 0 --family two_star"):
        assert main(line.split()) == 0
        assert capsys.readouterr().out.splitlines()[1:] == ["0 bits: 0.5"]
