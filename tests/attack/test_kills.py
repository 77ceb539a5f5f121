"""A run that is killed at random moments, thirty in all, ends as it would have without the kills."""

import random
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from retrieval_gap.runs.directory import RunDirectory

pytestmark = pytest.mark.attack
KILLS, SEED = 30, 14
TIMES = ("wall_s", "tokens_per_s")
TRAIN = (
    "train --task associative_recall --mode direct --length 8 --arch lstm --size tiny --samples 3200 --batch-size 16"
    " --eval-every 320 --eval-samples 300 --device cpu --threads 1 --checkpoint-seconds 0.05"
)


def start(folder: Path) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "retrieval_gap.cli", *TRAIN.split(), "--runs-dir", str(folder)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def result(folder: Path) -> tuple[dict[str, Any], list[Any], dict[str, Any]]:
    """The row, the reports and the weights of the one run in the folder."""
    (path,) = folder.iterdir()
    run = RunDirectory(path)
    (row,) = run.rows()
    seen = [(told["samples"], told["loss"], told.get("accuracy")) for told in run.reports()]
    return {key: value for key, value in row.items() if key not in TIMES}, seen, load_file(run.checkpoint)


def same(one: tuple[Any, Any, dict[str, Any]], other: tuple[Any, Any, dict[str, Any]]) -> bool:
    return one[:2] == other[:2] and all(one[2][name].equal(other[2][name]) for name in one[2])


def test_thirty_kills_at_random_moments_change_nothing(tmp_path: Path) -> None:
    rng = random.Random(SEED)
    began = time.monotonic()
    assert start(tmp_path / "whole").wait() == 0
    whole_s, whole = time.monotonic() - began, result(tmp_path / "whole")
    kills, finished = 0, 0
    while kills < KILLS:
        process = start(tmp_path / "killed")
        try:
            process.wait(rng.uniform(0.3, 1.0) * whole_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            kills += 1
            continue
        assert process.returncode == 0
        assert same(result(tmp_path / "killed"), whole)
        assert not list(tmp_path.glob("killed/*/.*.part"))  # the leftovers of kills are gone
        finished += 1
        shutil.rmtree(tmp_path / "killed")
    assert start(tmp_path / "killed").wait() == 0
    assert same(result(tmp_path / "killed"), whole)
