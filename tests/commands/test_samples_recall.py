"""The samples of the recall tasks that `retrieval-gap sample` prints pass a checker that shares no code with it."""

import json

import pytest

from retrieval_gap.cli import main
from tests.commands.outside_checker_recall import check_lines

# Task, further flags, and those that the checker needs.
CASES: list[tuple[str, str, dict[str, int]]] = [
    ("index", "", {}),
    ("index", "--values 2", {}),
    ("associative_recall", "", {}),
    ("associative_recall", "--family shuffled --values 31", {}),
    ("cgram_retrieval", "", {}),
    ("cgram_retrieval", "--c 2", {"c": 2}),
    ("cgram_retrieval", "--c 4 --values 60", {"c": 4}),
    ("counting", "", {}),
    ("counting", "--most 1", {}),
    ("counting", "--split test", {}),
    ("copy", "", {}),
    ("index", "--query first", {"first": 1}),
    ("associative_recall", "--query first --family shuffled", {"first": 1}),
    ("cgram_retrieval", "--query first --c 4", {"c": 4, "first": 1}),
    ("mqar", "", {}),
    ("mqar", "--pairs 2 --vocab 40 --power 1 --family zero_filler", {"pairs": 2}),
]


def printed(task: str, mode: str, n: int, flags: str, count: int, capsys: pytest.CaptureFixture[str]) -> list[str]:
    line = f"sample {task} --mode {mode} --length {n} --count {count} --seed 7 --format jsonl {flags}"
    assert main(line.split()) == 0
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("mode", ["direct", "rag"])
@pytest.mark.parametrize(("task", "flags", "known"), CASES)
@pytest.mark.parametrize("n", [8, 64, 512])
def test_samples_are_as_described(
    task: str, flags: str, known: dict[str, int], mode: str, n: int, capsys: pytest.CaptureFixture[str]
) -> None:
    count = 2 if (task, mode, n) == ("copy", "rag", 512) else 12
    assert check_lines(printed(task, mode, n, flags, count, capsys), task, mode, n, **known) == count


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["direct", "rag"])
@pytest.mark.parametrize(("task", "flags", "known"), CASES)
def test_samples_of_every_size_are_as_described(
    task: str, flags: str, known: dict[str, int], mode: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for n in range(8, 513, 14):
        assert check_lines(printed(task, mode, n, flags, 5, capsys), task, mode, n, **known) == 5


@pytest.mark.parametrize(("task", "flags", "known"), CASES)
def test_the_checker_finds_a_wrong_answer_and_a_wrong_result(
    task: str, flags: str, known: dict[str, int], capsys: pytest.CaptureFixture[str]
) -> None:
    (line,) = printed(task, "rag", 64, flags, 1, capsys)
    for at in (-1, json.loads(line)["target"].index("[ENDSEARCH]") + 1):
        record = json.loads(line)
        record["target"][at] = "zz"
        with pytest.raises(AssertionError):
            check_lines([json.dumps(record)], task, "rag", 64, **known)
