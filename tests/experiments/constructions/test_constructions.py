"""Constructions are experiments of the engine: they are hashed, read back, run and refused like others."""

import json
from pathlib import Path

import pytest

from retrieval_gap.cli import main
from retrieval_gap.experiments.constructions.config import OnMachine, OnTask, Setup
from retrieval_gap.experiments.constructions.turing import report
from retrieval_gap.experiments.grids import preset_cells
from retrieval_gap.machine.errors import UsageError
from retrieval_gap.runs.directory import RunDirectory
from retrieval_gap.runs.experiment import RunOptions, experiment_class, read_experiment
from retrieval_gap.tasks.api import TaskError
from retrieval_gap.theory.constructions.machines import MACHINE_FILES

TASK = OnTask(task="index", how="transformer", n=16, samples=5)
MACHINE = OnMachine(machine="palindrome", how="hybrid", word="abba")


@pytest.mark.parametrize("setup", [TASK, MACHINE], ids=["task", "machine"])
def test_a_setup_survives_its_configuration_file(setup: Setup) -> None:
    again = read_experiment(setup.to_json(), "config.json")
    assert again == setup
    assert again.hash() == setup.hash()
    assert experiment_class("constructions") is Setup


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"hou": "x"}, "did you mean 'how'"),
        ({"n": "16"}, "n = '16' is invalid"),
        ({"samples": 1.5}, "samples = 1.5"),
        ({"smallest": 1}, "smallest = 1"),
    ],
)
def test_a_configuration_file_with_a_wrong_key_or_value_is_refused(changes: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=f"config.json: .*{said}"):
        read_experiment(TASK.to_json() | changes, "config.json")


def test_a_configuration_file_that_lacks_a_key_is_refused() -> None:
    told = {key: value for key, value in TASK.to_json().items() if key != "how"}
    with pytest.raises(UsageError, match="how missing"):
        read_experiment(told, "config.json")


def test_the_same_meaning_has_the_same_hash() -> None:
    assert OnTask(task="index", how="transformer", n=16, samples=5, options="values=16").hash() == TASK.hash()
    assert OnTask(task="index", how="hybrid", n=16, samples=5).hash() != TASK.hash()
    assert OnMachine(machine="palindrome", how="hybrid", word="abb").hash() != MACHINE.hash()


def test_a_machines_hash_depends_on_the_content_of_its_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text((MACHINE_FILES / "palindrome.json").read_text())
    setup = OnMachine(machine=str(path), how="hybrid", word="abba")
    before = setup.hash()
    assert setup.foreign() == [str(path)]
    path.write_text((MACHINE_FILES / "copy.json").read_text())
    assert setup.hash() != before


@pytest.mark.parametrize("setup", [TASK, MACHINE], ids=["task", "machine"])
def test_a_run_writes_a_row_with_the_columns_of_its_kind(setup: Setup, tmp_path: Path) -> None:
    (row,) = setup.execute(RunDirectory(tmp_path), RunOptions())
    assert set(row) <= set(Setup.columns)
    assert (row["accuracy"], row["exact_trace"]) == (1.0, 1.0)
    assert setup.check_row(row) == ""
    assert row["config_hash"] == setup.hash()
    assert (row["machine_steps"] == 15) == (setup is MACHINE)


def test_a_setup_that_cannot_be_built_is_refused_before_a_run_starts() -> None:
    for setup in (
        OnTask(task="index", how="rnn_rag", n=2000),
        OnTask(task="index", how="transformer", n=16, precision="9"),
        OnTask(task="index", how="transformer", n=16, samples=0),
        OnMachine(machine="palindrome", how="hybrid", word="xyz"),
    ):
        with pytest.raises((UsageError, TaskError)):
            setup.validate()


def test_every_cell_of_the_preset_can_be_built_and_has_its_own_hash() -> None:
    cells = preset_cells("constructions")
    assert len({cell.hash() for cell in cells}) == len(cells)
    for cell in cells:
        cell.validate()
    keys = {tuple(cell.filter_values()) for cell in cells}
    assert len(keys) == 1


def test_the_length_of_a_word_is_its_number_of_symbols(tmp_path: Path) -> None:
    machine = {"start": "A", "halting": ["H"], "accepting": ["H"], "blank": "_", "symbols": ["_", "one", "two"]}
    path = tmp_path / "long.json"
    path.write_text(json.dumps(machine | {"transitions": ["A one -> two R A", "A _ -> _ S H"]}))
    for word, symbols in (("one", 1), ("one two", 2)):
        assert OnMachine(machine=str(path), word=word, how="hybrid").described()["n"] == symbols
    assert "symbols         1 x two" in list(
        report(OnMachine(machine=str(path), word="one", how="hybrid", max_steps=9))
    )


def test_the_plan_of_a_large_grid_is_a_few_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sweep", "constructions", "--dry-run", "--runs-dir", str(tmp_path)]) == 0
    told = capsys.readouterr().out.strip().splitlines()
    assert told[0] == f"{len(preset_cells('constructions'))} missing"
    assert len(told) == 2
