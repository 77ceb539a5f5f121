"""How long other kinds of experiments take: by the time that finished ones took."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from retrieval_gap.runs.directory import RunDirectory
from retrieval_gap.runs.known import planned_runs
from retrieval_gap.runs.planning import PacePlanner
from tests.training.test_loop import CONFIG


def test_what_failed_at_its_last_try_is_still_to_do_and_what_failed_for_good_is_not(tmp_path: Path) -> None:
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
