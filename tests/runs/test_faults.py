"""After kills, a full disk or damage, the final table of a sweep is that of an undisturbed one.

These tests use real processes; `make test-faults` runs them.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from retrieval_gap.runs.directory import RunDirectory
from retrieval_gap.training.checkpoint import previous, read_checkpoint
from tests.runs.sweeps import (
    PATIENCE,
    rows_of,
    starts_of,
    sweep_process,
    table_of,
    told_rows,
    wait_until,
    with_descendants,
    worker_of,
)
from tests.training.test_loop import CONFIG

pytestmark = pytest.mark.faults

# The first is long enough for faults in the middle.
CELLS = [
    replace(CONFIG, mode="direct", arch="lstm", samples=4_800, eval_samples=50),
    replace(CONFIG, mode="rag", arch="lstm", samples=400, eval_samples=20),
]
LONG = replace(CELLS[0], samples=14_400)  # for faults that Ray notices after seconds: a dead driver, a dead node
OFTEN = ("--checkpoint-seconds", "0.2", "--keep-weights")
ON = {
    "local": (*OFTEN, "--executor", "local", "--workers", "2"),
    "ray": (*OFTEN, "--executor", "ray", "--workers", "2"),
}
FAILING = """
from dataclasses import dataclass
from retrieval_gap.models.gru import GRUMixer
from retrieval_gap.models.mixer import Residual

calls = 0

class Failing(GRUMixer):
    def prefill(self, x_BxLxD, state):
        global calls
        calls += len(x_BxLxD) > 4  # the trial before a run takes fewer samples
        if calls > 30:
            raise RuntimeError("this layer always fails")
        return super().prefill(x_BxLxD, state)

@dataclass(frozen=True, kw_only=True)
class Stack:
    d_model: int

    def layers(self):
        return [Residual(self.d_model, Failing(self.d_model))]

SIZES = {"tiny": Stack(d_model=16)}
"""


def finish(runs_dir: Path, *words: str, cells: list = CELLS, status: int = 0) -> str:  # type: ignore[type-arg]
    """Run a sweep to its end; return its standard error."""
    with sweep_process(cells, runs_dir, *words) as driver:
        out, told = driver.communicate(timeout=PATIENCE)
    assert driver.returncode == status, out + told
    return told


def is_on_its_way(run: RunDirectory) -> bool:
    return previous(run.checkpoint).exists() and not run.result.exists()


def wait_for_checkpoints(run: RunDirectory) -> None:
    wait_until(lambda: is_on_its_way(run))


@pytest.fixture(scope="module")
def undisturbed_with_long(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, str]]:
    """The rows of a sweep of `CELLS` and `LONG`."""
    runs_dir, cells = tmp_path_factory.mktemp("undisturbed") / "runs", [*CELLS, LONG]
    finish(runs_dir, *ON["local"], cells=cells)
    assert [starts_of(RunDirectory.of(config, runs_dir)) for config in cells] == [1, 1, 1]
    return told_rows(runs_dir)


@pytest.fixture
def undisturbed(undisturbed_with_long: list[dict[str, str]]) -> list[dict[str, str]]:
    return undisturbed_with_long[:2]


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return RunDirectory.of(CELLS[0], tmp_path / "runs")


@pytest.fixture
def two_nodes() -> Iterator[tuple[str, int]]:
    """A cluster's address, and the process id of its second node."""
    script = Path(__file__).with_name("two_nodes.py")
    with subprocess.Popen(
        [sys.executable, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as cluster:
        assert cluster.stdout is not None
        address, raylet = cluster.stdout.readline().split()
        yield address, int(raylet)
        cluster.communicate(timeout=PATIENCE)


@pytest.mark.parametrize("executor", ON)
def test_a_worker_killed_by_sigkill_costs_only_one_try(
    executor: str, undisturbed: list[dict[str, str]], run: RunDirectory
) -> None:
    with sweep_process(CELLS, run.path.parent, *ON[executor]) as driver:
        wait_for_checkpoints(run)
        os.kill(worker_of(run), signal.SIGKILL)
        out, told = driver.communicate(timeout=PATIENCE)
    assert driver.returncode == 0, out + told
    assert starts_of(run) == 2
    assert told_rows(run.path.parent) == undisturbed


def test_the_cell_of_a_killed_node_is_finished_by_the_other_node(
    two_nodes: tuple[str, int], undisturbed_with_long: list[dict[str, str]], tmp_path: Path
) -> None:
    address, raylet = two_nodes
    cells = [LONG, replace(LONG, seed=1)]
    runs = [RunDirectory.of(cell, tmp_path / "runs") for cell in cells]
    with sweep_process(cells, tmp_path / "runs", *OFTEN, "--executor", "ray", "--address", address) as driver:
        wait_until(lambda: all(map(is_on_its_way, runs)))  # one on each node
        node = with_descendants(raylet)
        (lost,) = [r for r in runs if worker_of(r) in node]
        for process in node:  # as when its machine is switched off
            os.kill(process, signal.SIGKILL)
        out, told = driver.communicate(timeout=PATIENCE)
    assert driver.returncode == 0, out + told
    assert starts_of(lost) == 2
    assert told_rows(tmp_path / "runs")[0] == undisturbed_with_long[2]


@pytest.mark.parametrize("executor", ON)
def test_a_driver_that_is_killed_and_started_again_resumes_the_sweep(
    executor: str, undisturbed_with_long: list[dict[str, str]], tmp_path: Path
) -> None:
    cells = [LONG if executor == "ray" else CELLS[0], CELLS[1]]
    run = RunDirectory.of(cells[0], tmp_path / "runs")
    with sweep_process(cells, run.path.parent, *ON[executor]) as driver:
        wait_for_checkpoints(run)
        driver.kill()
        driver.wait()
        finish(run.path.parent, *ON[executor], cells=cells)
    assert starts_of(run) == 2
    first, second, long = undisturbed_with_long
    assert told_rows(run.path.parent) == [long if executor == "ray" else first, second]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", disk], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no small disk can be mounted here: {mounted.stderr.strip()}")
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)


def test_a_full_disk_costs_only_the_work_since_the_last_checkpoint(
    small_disk: Path, undisturbed: list[dict[str, str]]
) -> None:
    run = RunDirectory.of(CELLS[0], small_disk / "runs")
    filler = small_disk / "filler"
    with sweep_process(CELLS, run.path.parent, *ON["local"], "--tries", "2") as driver:
        wait_for_checkpoints(run)
        with filler.open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(4096))
        with filler.open("rb+") as file:  # room for reports, and for no checkpoint
            file.truncate(filler.stat().st_size - 64 * 1024)
        _, told = driver.communicate(timeout=PATIENCE)
    assert driver.returncode == 1
    assert "No space left on device" in told, told
    assert read_checkpoint(run.checkpoint)[0].step > 0
    assert not list(run.path.glob(".*.part"))
    filler.unlink()
    finish(run.path.parent, *ON["local"])
    assert told_rows(run.path.parent) == undisturbed


def test_a_damaged_checkpoint_is_replaced_by_the_one_before(
    undisturbed: list[dict[str, str]], run: RunDirectory
) -> None:
    with sweep_process(CELLS, run.path.parent, *ON["local"]) as driver:
        wait_for_checkpoints(run)
        os.kill(worker_of(run), signal.SIGKILL)
        driver.kill()
        wait_until(lambda: not worker_of(run))
    run.checkpoint.write_bytes(run.checkpoint.read_bytes()[:-100])
    told = finish(run.path.parent, *ON["local"])
    assert "resuming from the previous one, at step" in told
    assert told_rows(run.path.parent) == undisturbed


def test_two_sweeps_of_one_folder_never_work_on_the_same_cell(
    undisturbed: list[dict[str, str]], run: RunDirectory
) -> None:
    cells = [*CELLS, *(replace(CELLS[1], seed=seed) for seed in (1, 2))]
    runs = [RunDirectory.of(config, run.path.parent) for config in cells]
    words = (*OFTEN, "--workers", "1")
    with (
        sweep_process(cells, run.path.parent, *words) as one,
        sweep_process(cells, run.path.parent, *words) as other,
    ):
        wait_until(lambda: sum(map(bool, map(worker_of, runs))) == 2)  # each works on one cell
        for driver in (one, other):
            out, told = driver.communicate(timeout=PATIENCE)
            assert driver.returncode == 0, out + told
            assert len(rows_of(table_of(run.path.parent))) == len(cells)
    assert [starts_of(r) for r in runs] == [1] * len(cells)
    assert told_rows(run.path.parent)[:2] == undisturbed


@pytest.mark.parametrize("executor", ON)
def test_a_cell_that_always_fails_is_set_aside_with_its_traceback(
    executor: str, undisturbed: list[dict[str, str]], run: RunDirectory, tmp_path: Path
) -> None:
    (tmp_path / "failing.py").write_text(FAILING)
    failing = replace(CELLS[0], arch=str(tmp_path / "failing.py"))
    with sweep_process([failing, *CELLS], run.path.parent, *ON[executor], "--tries", "2") as driver:
        out, told = driver.communicate(timeout=PATIENCE)
    assert driver.returncode == 1
    aside = RunDirectory.of(failing, run.path.parent)
    assert (starts_of(aside), aside.status()) == (2, "failed")
    assert "RuntimeError: this layer always fails" in aside.error.read_text()
    assert "Traceback" in aside.error.read_text()
    assert "2 done, 1 failed" in out
    assert f"failed: {failing.label()}: RuntimeError: this layer always fails" in out
    assert told.splitlines()[-1].startswith("retrieval-gap: 1 cell(s) failed")
    assert told_rows(run.path.parent) == undisturbed


def test_an_undisturbed_sweep_on_ray_gives_the_same_table(undisturbed: list[dict[str, str]], run: RunDirectory) -> None:
    told = finish(run.path.parent, *ON["ray"])
    assert told_rows(run.path.parent) == undisturbed
    assert all("/2 done" in line for line in told.splitlines()), told  # no lines of Ray's own
