"""Streams that no method could work through are refused in one line, before anything is asked."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from retrieval_gap.cli import main
from retrieval_gap.tasks.api import TaskError
from retrieval_gap.tasks.streams.checks import check_streams
from retrieval_gap.tasks.streams.drift import Drift
from retrieval_gap.tasks.streams.stream import Kind, Step, Stream, StreamConfig, Target
from tests.tasks.streams.own_benchmark import OWN
from tests.tasks.streams.test_streams import Make, make

__all__ = ["make"]
BENCHMARK = Drift(StreamConfig())
COIN = Target(name="coin", kind="choice", question="?", options=("heads", "tails"))


def step(number: int, truth: Mapping[str, Any] | None, **changes: Any) -> Step:
    values: dict[str, Any] = {"number": number, "time": number, "input": {}, "truth": truth, "now": {}}
    return Step(**values | {"known_after": number + 1} | changes)


HEADS = {"coin": "heads"}


def stream(*steps: Step, number: int = 0) -> Stream:
    return Stream(number=number, name="mine", steps=steps)


def test_the_streams_of_all_benchmarks_pass_the_checks(make: Make) -> None:
    benchmark = make()
    for target in benchmark.targets:
        check_streams(benchmark, [benchmark.stream(number) for number in range(3)], target)


@pytest.mark.parametrize(
    ("streams", "told"),
    [
        ([], "drift has no streams with these data"),
        ([None], r"drift: stream\(0\) gave None, which is no Stream"),
        ([stream(step(0, HEADS), step(1, HEADS), number=3)], r"stream 0 \(mine\) calls itself stream 3"),
        ([stream()], r"stream 0 \(mine\) has no steps; to learn from an outcome takes 2 or more"),
        ([stream(step(0, HEADS))], r"stream 0 \(mine\) has one step"),
        ([stream(step(0, HEADS), step(2, HEADS))], "step 1: its number is 2; steps are numbered from 0"),
        ([stream(step(0, HEADS), step(1, HEADS, time="now"))], "its time 'now' and the first step's 0 are of two"),
        ([stream(step(0, HEADS), step(1, HEADS, time=-1))], "its time -1 lies before the last step's, 0"),
        (
            [stream(step(0, HEADS, time="2020-02-01"), step(1, HEADS, time="2020-01-01"))],
            "its time '2020-01-01' lies before the last step's, '2020-02-01'",
        ),
        (
            [stream(step(0, HEADS), step(1, {"dice": "6"}))],
            r"step 1: its truth lacks the target 'coin' \(it has dice\)",
        ),
        ([stream(step(0, {}), step(1, HEADS))], r"its truth lacks the target 'coin' \(it has none\)"),
        ([stream(step(0, {"coin": "edge"}), step(1, HEADS))], r"'edge' is not an option of 'coin' \(heads, tails\)"),
        ([stream(step(0, HEADS, now={"coin": 1.0}), step(1, HEADS))], "its present value 1.0 is not an option"),
        (
            [stream(step(0, HEADS), step(1, HEADS, input={"fact": "a \ud800"}))],
            r"step 1: 'fact: a \\ud800' holds half a character",
        ),
        ([stream(step(0, None), step(1, None))], "drift: no step has a truth, so nothing is asked"),
    ],
)
def test_the_error_for_a_bad_stream_names_stream_and_step(streams: list[Stream], told: str) -> None:
    with pytest.raises(TaskError, match=told) as refused:
        check_streams(BENCHMARK, streams, COIN)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        ("number", [1.5, 0, -1e100], [float("nan"), float("inf"), 1e101, 10**400, True, "1.5", None]),
        ("ranked", [("a", "b"), ()], ["a", ["a"], (1,), None]),
        ("text", ["", "fog"], [1.0, None, ("fog",)]),
    ],
)
def test_a_truth_has_the_kind_of_its_target(kind: Kind, good: list[Any], bad: list[Any]) -> None:
    target = Target(name="x", kind=kind, question="?")
    for value in good:
        check_streams(BENCHMARK, [stream(step(0, {"x": value}), step(1, None))], target)
    for value in bad:
        with pytest.raises(TaskError, match=r"step 1: its truth .* is not a "):
            check_streams(BENCHMARK, [stream(step(0, None), step(1, {"x": value}))], target)


@pytest.mark.parametrize(
    ("truth", "steps", "told"),
    [
        ('{"coin": "heads"}', 1, "own: stream 0 (mine) has one step"),
        ('{"coin": "heads"}', 0, "own: stream 0 (mine) has no steps"),
        ('{"dice": "6"}', 3, "own: stream 0 (mine), step 0: its truth lacks the target 'coin' (it has dice)"),
        ("None", 3, "own: no step has a truth, so nothing is asked"),
    ],
)
def test_a_users_own_benchmark_is_checked_before_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], truth: str, steps: int, told: str
) -> None:
    own = tmp_path / "own.py"
    own.write_text(OWN.format(truth=truth, steps=steps))
    run = f"memory run {own} --model scripted:prose --method zero_shot --runs-dir {tmp_path / 'runs'}"
    for dry in ([], ["--dry-run"]):
        assert main([*run.split(), *dry]) == 2
        line = capsys.readouterr().err
        assert told in line
        assert line.count("\n") == 1


@pytest.mark.parametrize(
    ("there", "instead", "told"),
    [
        (
            "range(3)",
            "range(__import__('random').randrange(3, 10**4))",
            "own: stream 0 differs when it is drawn again; all",
        ),
        ('name = "own"', "", "own.py: Own has no `name`, a word for tables"),
        ('"choice"', '"choise"', "own: target 'coin' has the kind 'choise' (choose from choice, number, ranked, text)"),
        ('"tails")),)', '"tails")))', "own: `targets` is Target(name='coin', kind='choice',"),
    ],
)
def test_a_users_own_benchmark_that_is_no_benchmark_is_told_what_is_wrong(
    there: str, instead: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text, own = OWN.format(truth='{"coin": "heads"}', steps=3), tmp_path / "own.py"
    assert text.count(there) == 1
    own.write_text(text.replace(there, instead))
    run = f"memory run {own} --model scripted:prose --method zero_shot --runs-dir {tmp_path / 'runs'} --dry-run"
    assert main(run.split()) == 2
    line = capsys.readouterr().err
    assert told in line
    assert line.count("\n") == 1


@pytest.mark.parametrize(("kind", "value"), [("text", "\udfff"), ("ranked", ("a", "\udfff"))])
def test_half_a_character_in_a_truth_is_refused(kind: Kind, value: Any) -> None:
    """No log could hold it."""
    target = Target(name="x", kind=kind, question="?")
    for changes in ({"truth": {"x": value}}, {"now": {"x": value}}):
        with pytest.raises(TaskError, match=r"step 1: '\\udfff' holds half a character"):
            check_streams(BENCHMARK, [stream(step(0, None), step(1, **{"truth": None} | changes))], target)
