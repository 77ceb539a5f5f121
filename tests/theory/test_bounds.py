"""The bound of each task, and what `retrieval-gap bound` prints."""

import math
from collections import Counter, defaultdict
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from retrieval_gap.cli import main
from retrieval_gap.machine.errors import UsageError
from retrieval_gap.tasks.api import Task, TaskConfig
from retrieval_gap.tasks.istree import IsTree
from retrieval_gap.tasks.recall import RecallTask
from retrieval_gap.tasks.registry import load_task, task_names
from retrieval_gap.theory.bounds import BOUNDS, Bound, bound_of
from retrieval_gap.theory.probe import cut_of


def configured(name: str, n: int, options: str = "") -> Task:
    return load_task(name)(TaskConfig(n=n, options=options))


# The bits needed and the prior, computed by hand.
CASES = {
    "index": (configured("index", 12), 48.0, 1 / 16),
    "associative_recall": (configured("associative_recall", 16), 24.0, 1 / 8),
    "cgram_retrieval": (configured("cgram_retrieval", 14, "c=3 values=16"), 16.0, 1 / 16),
    "counting": (configured("counting", 13, "most=3"), 8.0, 2 / 3),
    "copy": (configured("copy", 5, "values=4"), 10.0, 1 / 4),
    "mqar": (configured("mqar", 64, "vocab=64 pairs=3"), math.log2(32 * 31 * 30), 1 / 32),
    "istree": (configured("istree", 16), 13.0, 1 / 2),
    "position_retrieval": (configured("position_retrieval", 6), math.log2(720), 1 / 6),
    "last_write": (configured("last_write", 40, "variables=4 values=8"), 12.0, 1 / 8),
    "word_problem": (configured("word_problem", 9, "group=S3"), math.log2(6), 1 / 6),
    "find_path": (configured("find_path", 20), 3.0, 1 / 2),
    "index first": (configured("index", 12, "query=first"), math.log2(27), 1 / 16),
    "position first": (configured("position_retrieval", 9, "query=first"), math.log2(9), 1 / 9),
    "path": (configured("find_path", 40, "ask=path"), 6.0, 1 / 2),
    "each product": (configured("word_problem", 9, "group=S4 ask=each"), math.log2(24), (1 + 8 / 24) / 9),
}


def test_every_bound_has_a_case() -> None:
    assert set(BOUNDS) <= set(CASES)


@pytest.mark.parametrize("name", CASES)
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


@pytest.mark.parametrize("name", ["copy", "mqar", "path", "each product"])
def test_the_ceiling_of_exact_traces_is_the_states_per_input(name: str) -> None:
    task, needed, _ = CASES[name]
    whole = bound_of(task).exact_trace
    assert whole is not None
    bits = np.arange(math.ceil(needed) + 3)
    assert whole(bits) == pytest.approx(np.minimum(1, 2.0 ** (bits - needed)))


@pytest.mark.parametrize("options", ["values=2", "values=3", "values=500"])
def test_options_of_a_task_change_its_bound(options: str) -> None:
    values = int(options.removeprefix("values="))
    assert bound_of(configured("index", 20, options)).bits_needed == pytest.approx(20 * math.log2(values))


def test_every_recall_task_has_a_bound_that_reaches_one_at_its_entropy() -> None:
    recall = [configured(name, 64) for name in task_names() if issubclass(load_task(name), RecallTask)]
    assert len(recall) == 8
    for task in recall:
        assert bound_of(task).bits_needed == pytest.approx(task.bits_to_cross)


WITHOUT_STATE = ["index", "associative_recall", "cgram_retrieval", "counting", "copy"]
WITHOUT_STATE += ["position_retrieval", "last_write", "word_problem", "find_path"]


@pytest.mark.parametrize("name", WITHOUT_STATE)
def test_answers_from_the_question_alone_reach_the_ceiling_without_a_state(name: str) -> None:
    """The commonest answer to each question in one half of the samples is graded on the other half."""
    task, samples = configured(name, 24), 20_000
    bound, batch, cut = bound_of(task), task.sample(np.arange(samples)), cut_of(task)
    asked = [row[cut:length].tobytes() for row, length in zip(batch.tokens_BxL, batch.prompt_len_B, strict=True)]
    answers = batch.tokens_BxL[np.arange(samples), batch.prompt_len_B].tolist()
    seen: dict[bytes, Counter[int]] = defaultdict(Counter)
    for question, answer in zip(asked[: samples // 2], answers, strict=False):
        seen[question][answer] += 1
    graded = list(zip(asked, answers, strict=True))[samples // 2 :]
    right = sum(seen[question].most_common(1)[0][0] == answer for question, answer in graded)
    prior = float(bound.ceiling(0))
    assert right / len(graded) == pytest.approx(prior, abs=4.5 * math.sqrt(prior * (1 - prior) / len(graded)))


@pytest.mark.parametrize("task", [IsTree(TaskConfig(n=8, family="path_like")), SimpleNamespace(name="parity")])
def test_a_task_without_a_bound_is_an_error(task: Any) -> None:
    with pytest.raises(
        UsageError, match=r"unknown bounded family .* \(choose from|no bound is known for parity \(for .*index"
    ):
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


def test_the_command_takes_one_number_of_bits_and_both_names_of_the_size(capsys: pytest.CaptureFixture[str]) -> None:
    for line in ("bound istree --n-nodes 16 --bits 0", "bound istree --n 16 --bits 0 --family two_star"):
        assert main(line.split()) == 0
        assert capsys.readouterr().out.splitlines()[1:] == ["0 bits: 0.5"]


def test_the_command_takes_a_tasks_own_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert main("bound cgram_retrieval --length 64 --c 4 --values 2 --bits 15,16".split()) == 0
    title, fewer, enough = capsys.readouterr().out.splitlines()
    assert "16 4-grams that end in one of 2 values" in title
    assert float(fewer.removeprefix("15 bits: ")) < 1
    assert enough == "16 bits: 1.0"


def test_the_command_prints_whole_traces_for_tasks_with_several_answers(capsys: pytest.CaptureFixture[str]) -> None:
    assert main("bound copy --length 8 --bits 16".split()) == 0
    assert capsys.readouterr().out.endswith(f" of answers, {2.0**-16} of whole traces\n")
