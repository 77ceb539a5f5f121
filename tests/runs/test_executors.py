"""Executors leave cells that others hold to them and record failures; a sweep shows the state of its cells."""

import errno
import importlib.util
import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from rich.console import Console

from retrieval_gap.experiments.trained.config import RunConfig
from retrieval_gap.machine.errors import RunError, UsageError
from retrieval_gap.runs import watch
from retrieval_gap.runs.directory import RunDirectory
from retrieval_gap.runs.executors import ExecutorOptions, cells, local
from retrieval_gap.runs.executors.cells import (
    STOPPED,
    CellEnded,
    End,
    Ended,
    SweepOutcome,
    run_cells,
    work_on,
)
from retrieval_gap.runs.executors.local import LocalPool
from retrieval_gap.runs.experiment import RunOptions
from retrieval_gap.training.loop import StepReport
from tests.training.test_loop import CONFIG

CELLS = [replace(CONFIG, seed=seed) for seed in range(3)]
GRU = (Path(__file__).parents[2] / "retrieval_gap" / "models" / "gru.py").read_text()


class OneAtATime:
    """An `Executor` without workers: a cell ends as `ends` says, else done."""

    places: Sequence[str] = [""]

    def __init__(self, runs_dir: Path, ends: dict[RunConfig, list[End]] | None = None) -> None:
        self.runs_dir, self.started, self.ends = runs_dir, list[RunConfig](), ends or {}
        self.running: list[RunConfig] = []

    def has_room(self) -> bool:
        return not self.running

    def start(self, config: RunConfig, run: RunDirectory) -> None:
        self.started.append(config)
        self.running.append(config)

    def wait(self, seconds: float, stop: threading.Event) -> list[Ended]:
        if not self.running:
            return []
        config = self.running.pop()
        end = self.ends[config].pop(0) if config in self.ends else End.DONE
        if end is End.DONE:
            finish(RunDirectory.of(config, self.runs_dir))
        return [Ended(config, end, "" if end is End.DONE else end.name.lower())]

    def stop(self) -> None:
        self.running.clear()


def finish(run: RunDirectory) -> None:
    run.path.mkdir(parents=True, exist_ok=True)
    run.result.write_text("{}")


def test_a_cell_that_another_process_finishes_is_left_to_it_and_never_started(tmp_path: Path) -> None:
    executor = OneAtATime(tmp_path)
    held = RunDirectory.of(CELLS[0], tmp_path)
    held.create(CELLS[0], {})
    told = []
    with held.locked():
        events = run_cells(CELLS, executor, tmp_path, seconds=0, outcome=SweepOutcome())
        for event in events:
            told += [event] if event else []
            if len(told) == 2:
                break
        finish(held)
    told += [event for event in events if event]
    assert executor.started == CELLS[1:]
    assert told == [CellEnded(config, "") for config in (*CELLS[1:], CELLS[0])]


def test_a_cell_that_another_process_took_first_is_started_again_later(tmp_path: Path) -> None:
    executor = OneAtATime(tmp_path, {CELLS[0]: [End.HELD, End.DONE]})
    outcome = SweepOutcome()
    list(run_cells(CELLS, executor, tmp_path, seconds=0, outcome=outcome))
    assert executor.started == [*CELLS, CELLS[0]]
    assert not outcome.failed


def test_a_cell_that_fails_has_the_status_failed_and_its_reason_on_disk(tmp_path: Path) -> None:
    outcome = SweepOutcome()
    executor = OneAtATime(tmp_path, {CELLS[0]: [End.FAILED]})
    list(run_cells(CELLS, executor, tmp_path, seconds=0, outcome=outcome))
    run = RunDirectory.of(CELLS[0], tmp_path)
    assert (run.status(), run.error.read_text()) == ("failed", "failed\n")
    assert [config for config, _ in outcome.failed] == [CELLS[0]]


def test_a_cell_reported_done_without_a_result_in_the_folder_fails(tmp_path: Path) -> None:
    outcome = SweepOutcome()
    executor = OneAtATime(tmp_path / "elsewhere")
    list(run_cells(CELLS[:1], executor, tmp_path, seconds=0, outcome=outcome))
    assert "every node has to see the same --runs-dir" in outcome.failed[0][1]


def test_a_successful_try_removes_the_error_of_an_earlier_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = replace(CONFIG, mode="direct", arch="lstm", samples=80, eval_samples=5)
    run, options = RunDirectory.of(config, tmp_path), RunOptions(runs_dir=tmp_path)

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(cells, "perform", fail)
        assert work_on(config, run, options) == (
            End.FAILED,
            "OSError: [Errno 28] No space left on device",
        )
    assert run.status() == "failed"
    assert "Traceback" in run.error.read_text()
    assert work_on(config, run, options)[0] is End.DONE
    assert not run.error.exists()


@pytest.mark.parametrize(
    ("edited", "told"),
    [
        (GRU + "# more\n", r"UsageError: \S+mine.py changed since the sweep began"),
        (GRU + "def (\n", r"UsageError: \S+mine.py:\d+: SyntaxError"),
        (None, r"UsageError: no such architecture file: \S+mine.py"),
    ],
)
def test_a_cell_whose_file_changed_since_the_sweep_began_fails_at_once(
    edited: str | None, told: str, tmp_path: Path
) -> None:
    mine = tmp_path / "mine.py"
    mine.write_text(GRU)
    config = replace(CONFIG, mode="direct", arch=str(mine))
    run, options = RunDirectory.of(config, tmp_path / "runs"), RunOptions(runs_dir=tmp_path / "runs")
    mine.unlink() if edited is None else mine.write_text(edited)
    end, reason = work_on(config, run, options)
    assert end is End.HOPELESS
    assert re.match(told, reason)
    assert reason in run.error.read_text()
    assert [path.name for path in run.path.parent.iterdir()] == [run.path.name]


def test_an_option_of_another_executor_and_a_missing_package_are_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="--executor ray"):
        ExecutorOptions(address="auto")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install 'retrieval-gap\[ray\]'"):
        ExecutorOptions(name="ray")
    ExecutorOptions(workers=2)


@pytest.fixture
def board(tmp_path: Path) -> "watch._Board":
    """The board of three cells: one 40 % through its training, one that will fail, one that waits."""
    runs = {config: RunDirectory.of(config, tmp_path) for config in CELLS}
    run = runs[CELLS[0]]
    run.create(CELLS[0], {})
    told = StepReport(
        step=16, samples=128, loss=1.0, lr=1e-3, samples_per_s=2.0, tokens_per_s=9.0, padding=0, gpu_wait=None,
        micro_batch=8,
    )  # fmt: skip
    run.metrics.write_text(json.dumps(asdict(told) | {"wall_s": 1.0}) + "\n")
    return watch._Board(runs, lambda: 600.0)


@pytest.mark.parametrize("width", [60, 120])
def test_a_sweep_shows_done_running_failed_and_waiting_cells_at_any_width(board: "watch._Board", width: int) -> None:
    board.take(CellEnded(CELLS[1], "RuntimeError: " + "a long story " * 20))
    board.take(CellEnded(CELLS[2], STOPPED))
    console = Console(width=width, force_terminal=True, color_system=None)
    with RunDirectory.of(CELLS[0], next(iter(board._runs.values())).path.parent).locked(), console.capture() as shown:
        console.print(board.table())
    lines = [line.rstrip() for line in shown.get().splitlines()]
    told = " ".join(lines)
    assert "0/3 done, 1 running, 1 failed, 1 waiting" in told
    assert "about 10.0 min left" in told
    assert f"failed: {CELLS[1].label()}: RuntimeError: a" in told
    assert any(re.fullmatch(rf"{CELLS[0].label()} +40% +2 +96 s", line) for line in lines), told
    assert max(map(len, lines)) <= width


def test_plain_lines_show_the_same(board: "watch._Board", tmp_path: Path) -> None:
    with RunDirectory.of(CELLS[0], tmp_path).locked():
        line = board.line()
    assert "0/3 done, 1 running, 0 failed, 2 waiting" in line
    assert f"running: {CELLS[0].label()} (40%, 2 samples/s, 96 s left)" in line


def test_cells_of_one_label_are_told_apart_by_what_differs() -> None:
    rates = [replace(CONFIG, lr=lr) for lr in (1e-3, 3e-3)]
    index = replace(CONFIG, task="index", mode="direct", family="")
    lags = [replace(index, options=options) for options in ("", "values=4")]
    names = watch.names_of([*rates, *lags, replace(CONFIG, seed=7)])
    assert [name.partition(", ")[2] for name in names.values()] == ["lr 0.001", "lr 0.003", "", "values=4", ""]
    assert all(name.startswith(cell.label()) for cell, name in names.items())


def test_a_board_without_a_new_forecast_shows_the_rest(tmp_path: Path) -> None:
    def forecast() -> float:
        raise UsageError("mine.py:85: SyntaxError: invalid syntax")

    line = watch._Board({config: RunDirectory.of(config, tmp_path) for config in CELLS}, forecast).line()
    assert line == "0/3 done, 0 running, 0 failed, 3 waiting; 0.0 min"


def test_a_sweep_goes_on_when_its_progress_cannot_be_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.StringIO):
        def write(self, _: str) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(sys, "stderr", Full())
    runs = {config: RunDirectory.of(config, tmp_path) for config in CELLS}
    events = iter([CellEnded(config, STOPPED) for config in CELLS])
    watch.watch(runs, events, lambda: 0.0)
    assert list(events) == []


@pytest.mark.parametrize(
    ("address", "told"), [("127.0.0.1:1", "refused"), ("ray://head:10001", "HOST:PORT"), ("head", "HOST:PORT")]
)
def test_an_unreachable_cluster_is_an_error_at_once(address: str, told: str, tmp_path: Path) -> None:
    ray_tasks = pytest.importorskip("retrieval_gap.runs.executors.ray_tasks", exc_type=ImportError)
    with pytest.raises(RunError, match=f"no Ray cluster can be reached at {address}: .*{told}"):
        ray_tasks.RayTasks(RunOptions(runs_dir=tmp_path), ExecutorOptions(name="ray", address=address))


def test_the_last_words_of_a_worker_that_dies_without_a_reason_are_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "_work", _dies_loudly)
    outcome = SweepOutcome()
    pool = LocalPool(RunOptions(runs_dir=tmp_path), [""])
    list(run_cells(CELLS[:1], pool, tmp_path, seconds=0, outcome=outcome))
    ((_, reason),) = outcome.failed
    assert reason == "its process ended with status 7; its last words: a library's last words"


def _dies_loudly(cell: RunConfig, run: RunDirectory, options: RunOptions, place: str, tell: Connection) -> None:
    local._keep_errors_of(run)
    print("a library's last words", file=sys.stderr, flush=True)
    os._exit(7)


def test_a_worker_stopped_by_an_outside_signal_is_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "_work", _dies_once_by_sigterm)
    outcome = SweepOutcome()
    pool = LocalPool(RunOptions(runs_dir=tmp_path), [""], tries=3)
    list(run_cells(CELLS[:1], pool, tmp_path, seconds=0, outcome=outcome))
    assert not outcome.stopped
    assert not outcome.failed


def _dies_once_by_sigterm(
    cell: RunConfig, run: RunDirectory, options: RunOptions, place: str, tell: Connection
) -> None:
    if not run.path.exists():
        run.path.mkdir(parents=True)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(10)
    finish(run)
    tell.send_bytes(b"")


def test_a_lock_that_is_a_link_is_refused_and_its_target_is_kept(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    run.path.mkdir()
    precious = tmp_path / "precious"
    precious.write_text("kept")
    (run.path / "lock").symlink_to(precious)
    with pytest.raises(OSError, match="lock"), run.locked():
        pass
    assert precious.read_text() == "kept"


def test_addresses_of_sockets_are_short_even_with_a_long_tmpdir(tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 105)
    folder.mkdir()
    code = (
        "from retrieval_gap.runs.executors.processes import use_short_sockets; from multiprocessing import connection;"
        "use_short_sockets(); print(len(connection.arbitrary_address('AF_UNIX')))"
    )
    told = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"TMPDIR": str(folder)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(told.stdout) < 100
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("words", [{"workers": 9223372036854775807}, {"tries": 10**9}])
def test_impossible_numbers_of_workers_and_tries_are_refused(words: dict[str, int]) -> None:
    with pytest.raises(UsageError, match="4096 at the most"):
        ExecutorOptions(**words)
