"""A run keeps its hash, and so its directory and its committed result, whatever is added to the configuration."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from retrieval_gap.experiments.grids import preset_cells
from retrieval_gap.experiments.trained.config import RunConfig
from retrieval_gap.machine.errors import UsageError
from retrieval_gap.tasks.api import TaskError

RESULTS = Path(__file__).parents[3] / "results"
CELL: dict[str, object] = {"task": "cgram_retrieval", "mode": "rag", "n": 32, "arch": "lstm", "size": "tiny"}


def run_of(**settings: object) -> RunConfig:
    return RunConfig(**{**CELL, **settings})  # type: ignore[arg-type]


@pytest.mark.parametrize("preset", ["demo", "lr", "cpu"])
def test_committed_istree_results_still_have_the_hashes_of_their_presets(preset: str) -> None:
    with (RESULTS / f"istree_{preset}.csv").open(newline="") as file:
        committed = {row["config_hash"] for row in csv.DictReader(file)}
    assert committed
    assert committed <= {config.hash() for config in preset_cells(preset)}


def test_options_are_part_of_a_hash_and_the_way_they_are_written_is_not() -> None:
    hashes = {run_of(options=text).hash() for text in ("", "c=3", "values=16 c=3", " c=3  values=16")}
    assert len(hashes) == 1
    assert run_of(options="c=4").hash() not in hashes


def test_a_configuration_is_read_back_from_json_with_its_options() -> None:
    told = {**CELL, "options": "c=4"}
    assert RunConfig.from_json(told, "config.json") == run_of(options="c=4")
    assert RunConfig.from_json(CELL, "config.json") == run_of()
    with pytest.raises(UsageError, match="options = 4 is invalid"):
        RunConfig.from_json({**CELL, "options": 4}, "config.json")


def test_options_that_the_task_does_not_have_are_refused_before_a_run_starts() -> None:
    with pytest.raises(TaskError, match="unknown option 'k'"):
        run_of(options="k=4").validate()


def test_a_grid_of_numpy_numbers_is_the_same_grid() -> None:
    made = [run_of(seed=seed, lr=lr) for seed in np.arange(2) for lr in np.array([0.25, 0.5])]
    plain = [run_of(seed=seed, lr=lr) for seed in (0, 1) for lr in (0.25, 0.5)]
    assert [config.hash() for config in made] == [config.hash() for config in plain]
    assert json.dumps([config.to_json() for config in made]) == json.dumps([config.to_json() for config in plain])
