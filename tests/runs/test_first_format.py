"""A run directory from before results had digests and runs kept copies of files can still be read and resumed."""

import json
import shutil
from pathlib import Path

import pytest

from retrieval_gap.cli import main
from retrieval_gap.experiments.trained.config import RunConfig
from retrieval_gap.experiments.trained.run import evaluate_run, execute
from retrieval_gap.runs.directory import RunDirectory
from retrieval_gap.runs.experiment import RunOptions

(KEPT,) = (Path(__file__).parent / "fixtures" / "first_format").iterdir()
ROW = json.loads((KEPT / "result.json").read_text())
A_SAMPLE = 1 / ROW["eval_samples"]  # on another processor, rounding may change an answer of the untrained model


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return RunDirectory(shutil.copytree(KEPT, tmp_path / KEPT.name))


def test_its_configuration_has_the_hash_that_names_it(run: RunDirectory) -> None:
    experiment = run.experiment()
    assert RunDirectory.of(experiment, Path()).path.name == KEPT.name
    run.check_name(experiment)


def test_it_is_in_the_table_as_it_was_measured(run: RunDirectory, capsys: pytest.CaptureFixture[str]) -> None:
    assert run.rows() == [ROW | {"warmup_samples": 8, "max_grad_norm": 1.0}]  # which older rows lack
    assert main(["results", "--runs-dir", str(run.path.parent)]) == 0
    assert f"{ROW['accuracy']:.3f}" in capsys.readouterr().out


def test_its_model_decodes_as_before(run: RunDirectory) -> None:
    told = evaluate_run(run, None, None)
    assert told["accuracy"] == pytest.approx(ROW["accuracy"], abs=2 * A_SAMPLE)


def test_training_resumes_from_its_checkpoint(run: RunDirectory) -> None:
    config = run.experiment()
    assert isinstance(config, RunConfig)
    run.result.unlink()
    row = execute(config, RunOptions(runs_dir=run.path.parent, threads=1))
    assert row["samples"] == ROW["samples"]
    assert row["accuracy"] == pytest.approx(ROW["accuracy"], abs=2 * A_SAMPLE)
    assert row["config_hash"] == ROW["config_hash"]
