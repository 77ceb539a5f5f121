"""Every stream is in order, a function of its configuration and number, and nothing is known before its time."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from retrieval_gap.tasks.api import TaskError
from retrieval_gap.tasks.streams.stream import Benchmark, Step, StreamConfig, known_by, load_benchmark, seen
from tests.real_data import real
from tests.tasks.streams.files import DAILY, MIMIC, MONTHLY, SEATTLE, SZEGED

CASES: dict[str, tuple[str, str]] = {
    "seattle": ("weather", SEATTLE),
    "szeged": ("weather", SZEGED),
    "daily": ("finance", DAILY),
    "monthly": ("finance", MONTHLY),
    "mimic": ("clinical", MIMIC),
    "recall": ("recall", ""),
    "drift": ("drift", ""),
}
Make = Callable[..., Benchmark]


@pytest.fixture(params=CASES)
def make(request: pytest.FixtureRequest) -> Make:
    name, data = CASES[request.param]

    def made(steps: int = 40, seed: int = 3) -> Benchmark:
        path = real(data) if data else None
        return load_benchmark(name)(StreamConfig(data=path, steps=steps, seed=seed))

    return made


def test_steps_are_numbered_and_in_the_order_of_time(make: Make):
    for number in range(3):
        steps = make().stream(number).steps
        assert [step.number for step in steps] == list(range(len(steps)))
        times = [step.time for step in steps]
        assert times == sorted(times)
        assert len(set(times)) == len(times)


def test_a_stream_is_a_function_of_configuration_and_number(make: Make):
    one, other = make(), make()
    assert other.stream(2) == other.stream(2) == one.stream(2)
    assert [one.stream(i) for i in range(3)] != [make(seed=4).stream(i) for i in range(3)]


def test_a_truth_is_known_after_its_step_and_fits_its_target(make: Make):
    benchmark = make()
    asked = [step for step in benchmark.stream(1).steps if step.truth is not None]
    assert asked
    for step in asked:
        assert not known_by(step, step)
        for target in benchmark.targets:
            assert step.truth is not None
            value = step.truth[target.name]
            assert not target.options or value in target.options


def test_no_oracle_note_depends_on_what_is_not_known_yet(make: Make):
    """The notes at step t are the same whatever the later truths are."""
    benchmark = make()
    steps = benchmark.stream(0).steps
    for target in benchmark.targets:
        wrong = {"choice": "never seen", "number": 1e6, "text": "never seen", "ranked": ("never seen",)}[target.kind]
        for now in steps:
            hidden = [
                step if step.truth is None or known_by(step, now) else replace(step, truth={target.name: wrong})
                for step in steps
            ]
            notes = benchmark.oracle_notes(seen(steps, now), target)
            assert notes == benchmark.oracle_notes(seen(hidden, now), target)
            assert "never seen" not in "\n".join(notes)


def test_seen_hides_truths_that_are_not_known_yet():
    def step(number: int, known_after: int) -> Step:
        return Step(number=number, time=number, input={}, truth={"x": "y"}, known_after=known_after, now={})

    steps = [step(0, 1), step(1, 9), step(2, 3)]
    assert [each.truth for each in seen(steps, steps[2])] == [{"x": "y"}, None]


@pytest.mark.parametrize("name", ["weather", "finance", "clinical"])
def test_a_benchmark_that_reads_data_needs_a_file(name: str):
    with pytest.raises(TaskError, match=f"{name} needs --data"):
        load_benchmark(name)(StreamConfig())


def test_a_benchmark_that_draws_its_data_takes_no_file(tmp_path: Path):
    with pytest.raises(TaskError, match="leave out --data"):
        load_benchmark("recall")(StreamConfig(data=tmp_path))


def test_a_stream_of_one_step_and_an_unknown_name_are_refused():
    with pytest.raises(TaskError, match="one step"):
        StreamConfig(steps=1)
    with pytest.raises(TaskError, match="did you mean 'weather'"):
        load_benchmark("wether")
    with pytest.raises(TaskError, match="unknown target 'rain'"):
        load_benchmark("recall")(StreamConfig()).target("rain")


def test_a_benchmark_of_the_users_own_is_found_by_its_path(tmp_path: Path):
    file = tmp_path / "mine.py"
    file.write_text("from retrieval_gap.tasks.streams.drift import Drift\n\n\nclass Mine(Drift):\n    name = 'mine'\n")
    assert len(load_benchmark(str(file))(StreamConfig(steps=5)).stream(0).steps) == 5
