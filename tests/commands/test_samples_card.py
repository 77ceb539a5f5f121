"""The samples of position_retrieval, last_write, word_problem and find_path that `retrieval-gap sample` prints pass a
checker that shares no code with it."""

import json

import pytest

from retrieval_gap.cli import main
from tests.commands.outside_checker_card import check_lines

# Task, view, and options as on the command line.
CASES: list[tuple[str, str, str]] = [
    *(("position_retrieval", mode, more) for mode in ("direct", "rag") for more in ("", "query=first")),
    *(("last_write", mode, more) for mode in ("direct", "rag") for more in ("", "variables=3 values=5")),
    *(("word_problem", mode, more) for mode in ("direct", "cot") for more in ("", "group=S5", "group=Z2 ask=each")),
    ("word_problem", "direct", "group=A5 elements=generators"),
    ("word_problem", "cot", "group=S4 elements=generators ask=each"),
    *(("find_path", mode, more) for mode in ("direct", "cot", "rag") for more in ("", "names=200")),
    ("find_path", "rag", "calls=one"),
    *(("find_path", mode, "ask=path") for mode in ("direct", "rag")),
    ("find_path", "rag", "ask=path calls=one"),
]


def printed(task: str, mode: str, n: int, count: int, options: str, capsys: pytest.CaptureFixture[str]) -> list[str]:
    flags = " ".join(f"--{word.replace('=', ' ')}" for word in options.split())
    assert main(f"sample {task} --mode {mode} --n {n} --count {count} --seed 7 --format jsonl {flags}".split()) == 0
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize(("task", "mode", "options"), CASES)
@pytest.mark.parametrize("n", [10, 20, 130])
def test_samples_are_as_described(
    task: str, mode: str, options: str, n: int, capsys: pytest.CaptureFixture[str]
) -> None:
    given = dict(word.split("=") for word in options.split())
    assert check_lines(printed(task, mode, n, 10, options, capsys), task, mode, n, given) == 10


@pytest.mark.parametrize(("task", "mode", "options"), CASES)
def test_the_checker_finds_a_wrong_answer(
    task: str, mode: str, options: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (line,) = printed(task, mode, 20, 1, options, capsys)
    record = json.loads(line)
    record["target"][-1] = "zz"
    given = dict(word.split("=") for word in options.split())
    with pytest.raises(AssertionError):
        check_lines([json.dumps(record)], task, mode, 20, given)
