"""The time left is estimated from the time that finished runs took."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from retrieval_gap.runs.directory import RunDirectory
from retrieval_gap.runs.known import planned_runs
from retrieval_gap.runs.planning import PacePlanner
from tests.training.test_loop import CONFIG


def test_a_run_whose_last_try_failed_is_left_and_one_that_failed_for_good_is_not(tmp_path: Path) -> None:
    cells = [replace(CONFIG, seed=seed) for seed in range(4)]
    done, _, tried, hopeless = [RunDirectory.of(cell, tmp_path) for cell in cells]
    for run, cell in ((done, cells[0]), (tried, cells[2]), (hopeless, cells[3])):
        run.path.mkdir()
        run.create(cell, {})
    done.result.write_text("{}")
    began = done.configuration.stat().st_mtime
    os.utime(done.result, (began + 60, began + 60))
    tried.error.write_text("RunError: the disk is full\n")
    hopeless.failure.write_text('{"reason": "the loss is nan"}')
    assert PacePlanner().seconds_left(planned_runs(cells, tmp_path), tmp_path, [""]) == pytest.approx(2 * 60)
