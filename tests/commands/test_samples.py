"""The samples of istree that `retrieval-gap sample` prints pass a checker that shares no code with it."""

import json

import pytest

from retrieval_gap.cli import main
from tests.commands.outside_checker import check_lines

FAMILIES = ("two_star", "random_tree", "path_like")


def printed(
    family: str, mode: str, n: int, count: int, capsys: pytest.CaptureFixture[str], more: str = ""
) -> list[str]:
    flags = f"--mode {mode} --family {family} --n-nodes {n} --count {count} --seed 7 --format jsonl {more}"
    assert main(f"sample istree {flags}".split()) == 0
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("mode", ["direct", "cot", "rag"])
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("n", [4, 5, 11, 24, 128])
def test_samples_are_as_described(family: str, mode: str, n: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert check_lines(printed(family, mode, n, 20, capsys), mode, n) == 20


@pytest.mark.parametrize("mode", ["direct", "cot", "rag"])
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("n", "names"), [(4, 5), (9, 30), (24, 1024)])
def test_there_may_be_more_node_names_than_nodes(
    family: str, mode: str, n: int, names: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check_lines(printed(family, mode, n, 20, capsys, f"--names {names}"), mode, n, names) == 20


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["direct", "cot", "rag"])
@pytest.mark.parametrize("family", FAMILIES)
def test_samples_of_every_size_are_as_described(family: str, mode: str, capsys: pytest.CaptureFixture[str]) -> None:
    for n in range(4, 129):
        assert check_lines(printed(family, mode, n, 20, capsys), mode, n) == 20


def test_the_checker_finds_a_wrong_result(capsys: pytest.CaptureFixture[str]) -> None:
    (line,) = printed("path_like", "rag", 9, 1, capsys)
    record = json.loads(line)
    at = record["target"].index("[ENDSEARCH]", 12) + 1
    record["target"][at] = "[FAILED]" if record["target"][at] != "[FAILED]" else "3"
    with pytest.raises(AssertionError):
        check_lines([json.dumps(record)], "rag", 9)
