"""Edits of programs keep the words in another order, and are labelled by running tests within limits."""

import json
from pathlib import Path

import pytest

from retrieval_gap.tasks.api import TaskError
from retrieval_gap.tasks.texts.generated import SampleDraws
from retrieval_gap.tasks.texts.mbpp import edits, label_edits, passes

CODE = "def f(a, b):\n    a = a + 1\n    b = b + 1\n    return a - b"


def test_an_edit_keeps_the_words_and_changes_their_order() -> None:
    found = list(edits(CODE, SampleDraws("test", 0, 0)))
    assert len(found) == 3  # two pairs of statements, one subtraction
    assert all(sorted(text.split()) == sorted(CODE.split()) for text in found)
    assert all(text != CODE for text in found)


def test_the_same_draws_give_the_same_edits() -> None:
    one, other = (list(edits(CODE, SampleDraws("test", 3, 0))) for _ in range(2))
    assert one == other


def test_code_that_does_not_parse_has_no_edit() -> None:
    assert list(edits("def f(:", SampleDraws("test", 0, 0))) == []


@pytest.mark.parametrize(
    ("test", "right"),
    [("assert f(3, 1) == 2", True), ("assert f(3, 1) == 3", False), ("open('x', 'w').write('x' * 9999)", False)],
)
def test_a_program_passes_if_its_tests_do(test: str, right: bool) -> None:
    assert passes(CODE, [], [test]) is right


def test_a_program_that_takes_too_much_memory_fails() -> None:
    assert not passes("x = bytearray(1 << 31)", [], [])


def test_a_task_is_labelled_with_one_edit_of_each_kind(tmp_path: Path) -> None:
    row = {"task_id": 1, "code": CODE, "test_imports": [], "test_list": ["assert f(3, 1) == 2"]}
    idle = row | {"task_id": 2, "code": "def f(a, b):\n    return a"}
    (tmp_path / "mbpp_sanitized.jsonl").write_text(f"{json.dumps(row)}\n{json.dumps(idle)}\n")
    assert label_edits(tmp_path, tmp_path / "out.jsonl") == 2
    told = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [each["label"] for each in told] == ["fails", "passes"]
    assert {each["group"] for each in told} == {"task 1"}
    assert [passes(each["text"], [], row["test_list"]) for each in told] == [False, True]


def test_a_file_without_a_task_to_label_is_an_error(tmp_path: Path) -> None:
    row = {"task_id": 2, "code": "def f(a):\n    return a", "test_imports": [], "test_list": ["assert f(1) == 1"]}
    (tmp_path / "mbpp_sanitized.jsonl").write_text(json.dumps(row))
    with pytest.raises(TaskError, match="an edit that passes and one that fails"):
        label_edits(tmp_path, tmp_path / "out.jsonl")
