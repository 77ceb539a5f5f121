"""A sweep runs every cell of a preset in worker processes, skips finished cells and reports failed ones."""

import itertools
import json
import os
import re
import signal
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from retrieval_gap.cli import main
from retrieval_gap.experiments import grids as presets
from retrieval_gap.experiments.grids import istree
from retrieval_gap.experiments.trained.config import RunConfig
from retrieval_gap.llm.packaged import models_folder
from retrieval_gap.machine.errors import RunError, UsageError
from retrieval_gap.machine.stopping import SIGNALS
from retrieval_gap.runs.directory import RunDirectory
from retrieval_gap.runs.executors import cells, local
from retrieval_gap.runs.executors.cells import SweepOutcome, run_cells
from retrieval_gap.runs.executors.local import LocalPool
from retrieval_gap.runs.experiment import RunOptions
from retrieval_gap.runs.known import planned_runs
from retrieval_gap.runs.sweep import most_valuable_first, select, to_come
from retrieval_gap.tables.rows import COLUMNS, write_rows
from retrieval_gap.training.step import DeviceStep
from tests.runs.sweeps import PATIENCE, rows_of, sweep_here, sweep_process, wait_until
from tests.training.runs import execute, made_up_row
from tests.training.test_loop import CONFIG, assert_same

CELLS = [
    replace(CONFIG, mode=mode, arch=arch, samples=80, eval_samples=10)  # type: ignore[arg-type]
    for mode in ("direct", "rag")
    for arch in ("lstm", "mamba")
]
# Long enough to be stopped midway, and with reports from the start.
LONG = replace(CONFIG, mode="direct", arch="lstm", samples=2_400, eval_samples=50)


def end_turn_when(condition: Callable[[], bool], monkeypatch: pytest.MonkeyPatch) -> None:
    """End a sweep's minute as soon as the condition holds."""
    monkeypatch.setattr(cells, "time", SimpleNamespace(monotonic=lambda: 90.0 if condition() else 0.0))
    monkeypatch.setattr(cells, "POLL_SECONDS", 0.01)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """`LONG`, run by a pool from start to end."""
    runs_dir = tmp_path_factory.mktemp("undisturbed")
    pool = LocalPool(RunOptions(runs_dir=runs_dir), [""])
    list(run_cells([LONG], pool, runs_dir, seconds=0, outcome=SweepOutcome()))
    return RunDirectory.of(LONG, runs_dir)


def assert_same_end(run: RunDirectory, undisturbed: RunDirectory) -> None:
    """Assert the same weights and the same row, except for times and files that were changed while the tests ran."""
    assert_same(run, undisturbed)
    other = dict.fromkeys(("tokens_per_s", "wall_s", "commit", "digest"))
    assert json.loads(run.result.read_text()) | other == json.loads(undisturbed.result.read_text()) | other


@pytest.fixture
def smoke(monkeypatch: pytest.MonkeyPatch) -> list[RunConfig]:
    cells = list(CELLS)
    monkeypatch.setitem(presets.PRESETS, "smoke", lambda: cells)
    return cells


def test_a_sweep_runs_every_cell_once_and_writes_their_rows(smoke: list[RunConfig], tmp_path: Path) -> None:
    table = tmp_path / "rows.csv"
    sweep_here(smoke, tmp_path / "runs", workers=2, csv=table)
    rows = rows_of(table)
    assert [(row["mode"], row["arch"]) for row in rows] == [(c.mode, c.arch) for c in smoke]
    stamps = [RunDirectory.of(c, tmp_path / "runs").result.stat().st_mtime_ns for c in smoke]
    sweep_here(smoke, tmp_path / "runs", workers=2, csv=table)
    assert stamps == [RunDirectory.of(c, tmp_path / "runs").result.stat().st_mtime_ns for c in smoke]


def test_a_cell_in_a_pool_gives_the_row_of_a_run_alone(smoke: list[RunConfig], tmp_path: Path) -> None:
    sweep_here(smoke, tmp_path / "pool", workers=2, only="arch=mamba mode=rag", csv=tmp_path / "rows.csv")
    alone = execute(CELLS[3], tmp_path / "alone")
    (row,) = rows_of(tmp_path / "rows.csv")
    same = [c for c in COLUMNS if c not in ("tokens_per_s", "wall_s", "threads", "commit")]
    assert {c: row[c] for c in same} == {c: str(alone[c]) for c in same}


def test_a_filter_chooses_what_runs_and_the_table_keeps_every_finished_row(
    smoke: list[RunConfig], tmp_path: Path
) -> None:
    table = tmp_path / "rows.csv"
    for config in (smoke[0], smoke[2]):
        run = RunDirectory.of(config, tmp_path / "runs")
        run.create(config, {})
        run.result.write_text(json.dumps(made_up_row(config)))
    sweep_here(smoke, tmp_path / "runs", only="mode=direct arch=lstm", csv=table)
    assert [(row["mode"], row["arch"]) for row in rows_of(table)] == [("direct", "lstm"), ("rag", "lstm")]


@pytest.mark.faults
def test_a_cell_that_fails_does_not_stop_the_others(smoke: list[RunConfig], tmp_path: Path) -> None:
    smoke[:] = [replace(smoke[0], lr=1e25), smoke[1]]
    with pytest.raises(RunError, match=r"1 cell\(s\) failed.*direct.*DivergedError: the "):
        sweep_here(smoke, tmp_path / "runs", workers=1, csv=tmp_path / "rows.csv")
    assert [row["arch"] for row in rows_of(tmp_path / "rows.csv")] == ["mamba"]


def test_a_cell_that_failed_in_this_sweep_is_not_among_those_to_come(tmp_path: Path) -> None:
    planned = planned_runs(CELLS, tmp_path)
    outcome = SweepOutcome(failed=[(CELLS[1], "RunError: the disk is full")], stopped=[CELLS[2]])
    assert to_come(planned, outcome) == [planned[0], planned[2], planned[3]]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_sharing_a_gpu_needs_one(smoke: list[RunConfig], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--per-gpu needs a GPU"):
        sweep_here(smoke, tmp_path / "runs", device="auto", per_gpu=2)
    assert not (tmp_path / "runs").exists()


def test_a_cell_that_runs_out_of_memory_fails_with_the_numbers_and_can_be_tried_again(
    smoke: list[RunConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the training step of GPUs, on a device without memory."""
    told = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has 1.00 GiB free"

    def no_room(*_: object) -> None:
        raise torch.OutOfMemoryError(told)

    with monkeypatch.context() as patched:
        patched.setattr("retrieval_gap.training.loop.make_step", DeviceStep)
        patched.setattr("retrieval_gap.models.SequenceModel.summed_loss", no_room)
        with pytest.raises(RunError, match=r"one sample at a time: CUDA out of memory\. Tried to allocate 2\.00 GiB"):
            execute(CELLS[0], tmp_path)
    assert RunDirectory.of(CELLS[0], tmp_path).status() == "partial"
    assert execute(CELLS[0], tmp_path)["eval_samples"] == 10


def test_a_dry_run_writes_nothing(smoke: list[RunConfig], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sweep_here(smoke, tmp_path / "runs", dry_run=True)
    assert "4 missing" in capsys.readouterr().out
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("kept", [False, True])
def test_a_sweep_that_keeps_no_weights_says_so_before_it_trains(
    kept: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grid = "--task index --mode direct --n 4 --arch lstm --size tiny+n_layers=1 --samples 80 --eval-samples 10"
    command = ["sweep", *grid.split(), "--device", "cpu", "--workers", "1", "--runs-dir", str(tmp_path)]
    assert main([*command, *(["--keep-weights"] if kept else [])]) == 0
    told = capsys.readouterr().out
    assert ("--keep-weights" in told.splitlines()[0]) is not kept
    assert len(list(tmp_path.glob("*/checkpoint.safetensors"))) == kept


@pytest.mark.faults
def test_cells_stopped_by_a_deadline_are_resumed_to_the_same_row(
    smoke: list[RunConfig],
    undisturbed: RunDirectory,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    smoke[:] = [CELLS[0], LONG]
    run = RunDirectory.of(LONG, tmp_path)
    end_turn_when(run.metrics.exists, monkeypatch)
    sweep_here(smoke, tmp_path, workers=1, max_minutes=1)
    assert run.status() == "partial"
    told = capsys.readouterr().out
    assert re.search(r"^done +1 +80 *$", told, re.M), told
    assert re.search(r"^partial +1 +[\d,]+ +(\d+\.\d\d|<0.01)h =$", told, re.M), told
    sweep_here(smoke, tmp_path, workers=1, max_minutes=60)
    assert_same_end(run, undisturbed)
    assert re.search(r"^done +2 +2,480 *$", capsys.readouterr().out, re.M)


def test_partial_cells_come_before_new_ones_the_nearest_to_its_end_first(tmp_path: Path) -> None:
    cells = [replace(LONG, seed=seed) for seed in range(6)]
    runs = {config: RunDirectory.of(config, tmp_path) for config in cells}
    for seed, samples in ((1, 240), (3, 1_200), (4, 0), (5, 0)):
        runs[cells[seed]].create(cells[seed], {})
        if samples:
            runs[cells[seed]].metrics.write_text(json.dumps({"step": samples // 8, "samples": samples, "wall_s": 1}))
    runs[cells[5]].result.write_text("{}")
    assert [config.seed for config in most_valuable_first(runs)] == [3, 1, 4, 0, 2]


@pytest.mark.faults
def test_a_sweep_stopped_by_a_signal_fails_and_leaves_checkpoints(tmp_path: Path) -> None:
    cells = [replace(LONG, samples=200_000, seed=seed) for seed in range(3)]
    runs = [RunDirectory.of(config, tmp_path) for config in cells]
    with sweep_process(cells, tmp_path, "--workers", "1") as driver:
        wait_until(runs[0].metrics.exists)
        driver.terminate()
        _, told = driver.communicate(timeout=PATIENCE)
        assert driver.returncode == 1
    assert told.splitlines()[-1] == "retrieval-gap: stopped; 3 cell(s) left; the same command resumes"
    assert [run.checkpoint.exists() for run in runs] == [True, False, False]


@pytest.mark.faults
def test_a_worker_killed_by_sigkill_is_reported_and_the_same_command_finishes_its_cell(
    smoke: list[RunConfig], undisturbed: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    smoke[:] = [LONG, CELLS[0]]
    run, start = RunDirectory.of(LONG, tmp_path), local._start

    def start_and_kill(context: ForkServerContext, config: RunConfig, *more: Any) -> ForkServerProcess:
        process = start(context, config, *more)
        if config == LONG:
            wait_until(run.metrics.exists)
            process.kill()
        return process

    with monkeypatch.context() as patched:
        patched.setattr(local, "_start", start_and_kill)
        with pytest.raises(RunError, match=rf"1 cell\(s\) failed.*{LONG.label()}.*ended with status -9"):
            sweep_here(smoke, tmp_path, workers=2, tries=1)
    assert [RunDirectory.of(config, tmp_path).status() for config in smoke] == ["failed", "done"]
    sweep_here(smoke, tmp_path, workers=2)
    assert_same_end(run, undisturbed)


@pytest.mark.faults
def test_the_workers_of_a_driver_killed_by_sigkill_stop_and_the_sweep_can_be_resumed(
    undisturbed: RunDirectory, tmp_path: Path
) -> None:
    run = RunDirectory.of(LONG, tmp_path)
    with sweep_process([LONG], tmp_path, "--keep-weights") as driver:
        wait_until(run.metrics.exists)
        driver.kill()
        driver.communicate(timeout=PATIENCE)
    assert (run.checkpoint.exists(), run.result.exists()) == (True, False)
    with sweep_process([LONG], tmp_path, "--keep-weights") as driver:
        driver.communicate(timeout=PATIENCE)
        assert driver.returncode == 0
    assert_same_end(run, undisturbed)


@pytest.mark.faults
@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_to_all_processes_stops_cells_at_any_moment_and_none_fails(
    number: signal.Signals, tmp_path: Path
) -> None:
    """As a terminal sends Ctrl-C, and batch systems the others."""
    evaluating = replace(CONFIG, arch="lstm", samples=80, eval_samples=5_000_000)
    training = replace(LONG, samples=200_000)
    runs = [RunDirectory.of(config, tmp_path) for config in (evaluating, training)]
    with sweep_process([evaluating, training], tmp_path, "--workers", "2", "--checkpoint-seconds", "3600") as driver:
        wait_until(lambda: runs[0].checkpoint.exists() and runs[1].metrics.exists())
        os.killpg(driver.pid, number)
        _, told = driver.communicate(timeout=PATIENCE)
        assert driver.returncode == 1
    assert told.splitlines()[-1] == "retrieval-gap: stopped; 2 cell(s) left; the same command resumes"
    assert "retrying" not in told
    assert not list(tmp_path.glob("*/error.txt"))
    assert runs[1].checkpoint.exists()


def test_a_filter_keeps_the_cells_that_match_all_of_it() -> None:
    assert [c.arch for c in select(CELLS, "mode=rag")] == ["lstm", "mamba"]
    assert len(select(CELLS, "mode=rag,direct arch=mamba")) == 2
    with pytest.raises(UsageError, match="no cell"):
        select(CELLS, "mode=cot")


@pytest.mark.parametrize("only", ["lr=1e-3", "lr=0.0010", "lr=1e-3,0.003"])
def test_a_filter_takes_a_number_in_any_spelling(only: str) -> None:
    cells = [replace(CONFIG, lr=lr) for lr in (1e-3, 3e-3, 1e-2)]
    assert [cell.lr for cell in select(cells, only)] == [1e-3, 3e-3][: only.count(",") + 1]


def test_one_run_in_two_spellings_is_one_cell_and_one_row(tmp_path: Path) -> None:
    quick = replace(CONFIG, mode="direct", samples=80, eval_samples=10)
    table = tmp_path / "t.csv"
    sweep_here([quick, replace(quick, lr=0.0), quick], tmp_path / "runs", csv=table, workers=1)
    assert len(rows_of(table)) == 1


def test_a_table_has_the_rows_that_were_written(tmp_path: Path) -> None:
    row = dict.fromkeys(COLUMNS, 1) | {"task": "istree", "accuracy": 0.5, "hardware": "a, b"}
    write_rows(tmp_path / "rows.csv", [row])
    assert rows_of(tmp_path / "rows.csv") == [{column: str(value) for column, value in row.items()}]


@pytest.mark.parametrize("name", presets.PRESETS)
def test_every_preset_is_a_grid_of_valid_and_different_cells(name: str) -> None:
    cells = presets.preset_cells(name)
    if {cell.kind for cell in cells} & {"heads", "memories"} and not models_folder().is_dir():
        pytest.skip("its model is fetched by its make target")
    for cell in cells:
        cell.validate()
    assert len({cell.hash() for cell in cells}) == len(cells)


def test_the_papers_grid_is_complete_and_starts_with_the_most_telling_cells() -> None:
    cells = istree.paper()
    modes, sizes, ns = ("direct", "cot", "rag"), ("0.5m", "1m", "2m"), (16, 32, 64, 128)
    grid = itertools.product(modes, ns, istree.ARCHITECTURES, sizes)
    assert sorted((c.mode, c.n, c.arch, c.size) for c in cells) == sorted(grid)
    first = list(dict.fromkeys((c.mode, c.n, c.size) for c in cells))
    assert first[:5] == [("cot", n, "0.5m") for n in (16, 32, 64)] + [("rag", n, "0.5m") for n in (16, 32)]
    assert first[5:13] == [("cot", n, size) for size in ("1m", "2m") for n in ns]


def test_a_changed_setting_is_another_run_and_an_explicit_default_is_not() -> None:
    assert CONFIG.hash() != replace(CONFIG, seed=1).hash()
    assert CONFIG.hash() == replace(CONFIG, family="two_star").hash()
    assert CONFIG.hash() == replace(CONFIG, precision="fp32").hash()
    assert len({replace(CONFIG, precision=p).hash() for p in ("fp32", "tf32", "bf16")}) == 3  # type: ignore[arg-type]
    assert replace(CONFIG, lr=0.0).hash() == replace(CONFIG, lr=1e-3).hash()
