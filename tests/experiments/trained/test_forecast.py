"""Every number of hours names its source: a measured run, scaling from other runs, or the roofline alone."""

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from rich.console import Console

from retrieval_gap.experiments.grids.istree import paper
from retrieval_gap.experiments.trained import forecast
from retrieval_gap.experiments.trained.config import RunConfig
from retrieval_gap.experiments.trained.cost import GPUS, cell_cost, trace_sizes
from retrieval_gap.experiments.trained.forecast import (
    Duration,
    estimate,
    hours,
    print_forecast,
    seconds_left,
)
from retrieval_gap.experiments.trained.paces import measured_runs, on_machine
from retrieval_gap.machine import environment
from retrieval_gap.runs.directory import RunDirectory
from retrieval_gap.runs.known import planned_runs
from retrieval_gap.runs.sweep import most_valuable_first
from tests.experiments.trained.test_cost import MACHINE
from tests.training.runs import made_up_row
from tests.training.test_loop import CONFIG


def make_run(
    runs_dir: Path, config: RunConfig, *, pace: float, hardware: str, tokens_per_s: float = 0.0, threads: int = 1
) -> None:
    """Writes a run with three reports; the first is slow, as if kernels were compiled."""
    total = config.samples
    made = [(total // 4, pace / 9), (total // 2, pace), (3 * total // 4, pace)]
    make_reports(runs_dir, config, made, hardware=hardware, threads=threads)
    if tokens_per_s:
        result = RunDirectory.of(config, runs_dir).result
        result.write_text(json.dumps(made_up_row(config, tokens_per_s=tokens_per_s)))


def make_reports(
    runs_dir: Path, config: RunConfig, made: Sequence[tuple[int, float]], *, hardware: str, threads: int = 1
) -> None:
    """Writes a run that has trained; made: samples, and samples per second since the previous report."""
    run = RunDirectory.of(config, runs_dir)
    run.path.mkdir(parents=True)
    run.create(config, {})
    run.environment.write_text(json.dumps({"hardware": hardware, "threads": threads}) + "\n")
    told = [{"step": 1, "samples": samples, "wall_s": 1.0, "samples_per_s": pace} for samples, pace in made]
    run.metrics.write_text("".join(json.dumps(report) + "\n" for report in told))


def test_hours_come_from_a_measured_run_if_there_is_one(tmp_path: Path) -> None:
    h200 = GPUS[0]
    make_run(tmp_path, replace(CONFIG, seed=1), pace=40.0, hardware=environment.hardware(), tokens_per_s=100.0)
    make_run(tmp_path, replace(CONFIG, seed=2), pace=9.0, hardware="another processor")
    make_run(tmp_path, replace(CONFIG, seed=3), pace=8.0, hardware=environment.hardware(), threads=2)
    make_run(tmp_path, replace(CONFIG, seed=4), pace=800.0, hardware="NVIDIA H200, 16 cores")
    runs = measured_runs(tmp_path)
    here, there = on_machine(MACHINE, runs), on_machine(h200, runs)
    sizes = trace_sizes(CONFIG)
    decoding = CONFIG.eval_samples * (sizes.length - sizes.prompt) / 100.0
    assert estimate(CONFIG, MACHINE, here) == Duration(
        pytest.approx(CONFIG.samples / 40.0 + decoding), frozenset({"measured"})
    )
    half = replace(CONFIG, samples=CONFIG.samples * 2)
    assert estimate(half, MACHINE, here, 0.5) == Duration(
        pytest.approx(CONFIG.samples / 40.0 + decoding), frozenset({"measured"})
    )
    roofline = h200.seconds(cell_cost(CONFIG).evaluation)
    assert estimate(CONFIG, h200, there) == Duration(
        pytest.approx(CONFIG.samples / 800.0 + roofline), frozenset({"measured", "roofline"})
    )
    assert estimate(CONFIG, h200, there, 0.0) == Duration(pytest.approx(roofline), frozenset({"roofline"}))


def test_hours_of_other_cells_are_scaled_from_the_nearest_measured_ones(tmp_path: Path) -> None:
    unlike = replace(CONFIG, mode="direct")
    make_run(tmp_path, CONFIG, pace=40.0, hardware=environment.hardware(), tokens_per_s=100.0)
    make_run(tmp_path, unlike, pace=10.0, hardware=environment.hardware())
    moved = replace(CONFIG, seed=9)
    make_run(tmp_path, moved, pace=10.0, hardware=environment.hardware())
    with_gone_task = json.dumps(asdict(replace(moved, task="gone.py")))
    (RunDirectory.of(moved, tmp_path).path / "config.json").write_text(with_gone_task)
    runs = on_machine(MACHINE, measured_runs(tmp_path))
    roofline = {
        config: [MACHINE.seconds(phase) for phase in (cell_cost(config).training, cell_cost(config).evaluation)]
        for config in (CONFIG, unlike, replace(CONFIG, n=12), replace(CONFIG, arch="lstm"))
    }
    sizes = trace_sizes(CONFIG)
    decoding = CONFIG.eval_samples * (sizes.length - sizes.prompt) / 100.0
    paces = [CONFIG.samples / 40.0 / roofline[CONFIG][0], unlike.samples / 10.0 / roofline[unlike][0]]
    for config, pace in ((replace(CONFIG, n=12), paces[0]), (replace(CONFIG, arch="lstm"), sum(paces) / 2)):
        training, evaluation = roofline[config]
        seconds = pace * training + decoding / roofline[CONFIG][1] * evaluation
        assert estimate(config, MACHINE, runs) == Duration(pytest.approx(seconds), frozenset({"scaled"}))
    assert estimate(CONFIG, MACHINE, []) == Duration(pytest.approx(sum(roofline[CONFIG])), frozenset({"roofline"}))


STAGED = RunConfig(
    task="index",
    mode="direct",
    n=32,
    arch="lstm",
    size="tiny",
    samples=4800,
    batch_size=16,
    warmup_samples=0,
    curriculum="4+8",
)
PLAIN = replace(STAGED, curriculum="")


def make_staged_run(runs_dir: Path, reports: int, slowness: float) -> float:
    """Writes the first of 12 reports of a run at slowness times its roofline; returns the seconds of the whole run."""
    seconds = [slowness * MACHINE.seconds([step]) for step in cell_cost(STAGED).training]
    paces = [1600 / stage for stage in seconds for _ in range(4)]
    made = [(400 * (i + 1), pace) for i, pace in enumerate(paces)]
    make_reports(runs_dir, STAGED, made[:reports], hardware=environment.hardware())
    return sum(seconds)


def training_of(config: RunConfig, runs_dir: Path, todo: float = 1.0) -> Duration:
    runs = on_machine(MACHINE, measured_runs(runs_dir))
    whole, evaluation = estimate(config, MACHINE, runs, todo), estimate(config, MACHINE, runs, 0.0)
    return Duration(whole.seconds - evaluation.seconds, whole.sources - evaluation.sources)


def test_a_run_with_a_curriculum_is_measured_over_all_of_its_sizes(tmp_path: Path) -> None:
    seconds = make_staged_run(tmp_path, 12, slowness=7.0)
    assert training_of(STAGED, tmp_path) == Duration(pytest.approx(seconds), frozenset({"measured"}))
    third = 7.0 * MACHINE.seconds(cell_cost(STAGED).training[-1:])
    assert third > seconds / 2
    assert training_of(STAGED, tmp_path, 1 / 3).seconds == pytest.approx(third)


def test_a_plain_run_is_scaled_from_one_with_a_curriculum_and_not_called_measured(tmp_path: Path) -> None:
    make_staged_run(tmp_path, 12, slowness=7.0)
    plain = 7.0 * MACHINE.seconds(cell_cost(PLAIN).training)
    assert training_of(PLAIN, tmp_path) == Duration(pytest.approx(plain), frozenset({"scaled"}))


def test_a_curriculum_stopped_at_its_small_problems_is_scaled_to_the_large_ones(tmp_path: Path) -> None:
    seconds = make_staged_run(tmp_path, 4, slowness=7.0)
    assert training_of(STAGED, tmp_path) == Duration(pytest.approx(seconds), frozenset({"scaled"}))


def test_time_left_includes_a_cell_that_the_next_sweep_tries_again(tmp_path: Path) -> None:
    fresh, tried, hopeless = cells = [replace(PLAIN, seed=seed) for seed in range(3)]
    runs = {cell: RunDirectory.of(cell, tmp_path) for cell in cells}
    for cell in (tried, hopeless):
        runs[cell].path.mkdir()
        runs[cell].create(cell, {})
    runs[tried].error.write_text("RunError: the disk is full\n")
    runs[hopeless].failure.write_text('{"reason": "the loss is nan"}')
    assert [runs[cell].status() for cell in cells] == ["missing", "failed", "failed"]
    alone = seconds_left(planned_runs([fresh], tmp_path), tmp_path, replace(MACHINE, count=1))
    assert seconds_left(planned_runs(cells, tmp_path), tmp_path, replace(MACHINE, count=1)) == pytest.approx(2 * alone)
    assert seconds_left(planned_runs([hopeless], tmp_path), tmp_path, MACHINE) == 0
    assert tried in most_valuable_first(runs)


def test_hours_run_until_the_last_cell_ends_and_show_their_unit_and_all_marks() -> None:
    cells = [Duration(7200.0, frozenset({"measured"})), Duration(3600.0, frozenset({"roofline", "scaled"}))]
    assert hours(cells, replace(MACHINE, count=1)) == "3.00h =~?"
    assert hours(cells, MACHINE) == "2.00h =~?"
    assert hours([Duration(3.6e6, frozenset({"roofline"}))] * 2, MACHINE) == "1,000h ?"
    assert hours([Duration(1.0, frozenset({"roofline"}))], MACHINE) == "<0.01h ?"
    assert hours([], MACHINE) == ""


@pytest.mark.parametrize("width", [80, 120])
def test_a_forecast_fits_the_terminal_and_marks_every_number(
    width: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    configs = [config for config in paper() if config.n == 16 and config.size == "0.5m"]
    make_run(tmp_path, configs[0], pace=3.0, hardware=environment.hardware(), tokens_per_s=100.0)
    monkeypatch.setattr(forecast, "wide_console", lambda: Console(width=width))
    print_forecast(planned_runs(configs, tmp_path), tmp_path, MACHINE)
    lines = capsys.readouterr().out.splitlines()
    table = lines[: next(i for i, line in enumerate(lines) if line.startswith("h hours:"))]
    assert max(map(len, table)) <= width
    assert "…" not in "".join(table)
    assert [line.split("  ")[0].strip() for line in table if line.strip()][1:] == [
        "all", "left", "cot n=16", "rag n=16", "direct n=16",
        "transformer 0.5m", "hybrid 0.5m", "mamba 0.5m", "lstm 0.5m",
    ]  # fmt: skip
    rows = [line for line in table if line.strip()][1:]
    assert all(len([word for word in line.split() if set(word) <= set("=~?")]) == len(GPUS) + 1 for line in rows)
    assert rows[0].split()[1] == "12"
    assert rows[1].split()[1] == "11"
