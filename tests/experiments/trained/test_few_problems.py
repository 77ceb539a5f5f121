"""If a split has fewer problems than asked for, forecast, progress and result count only those that it has."""

from dataclasses import replace
from pathlib import Path

import pytest

from retrieval_gap.decoding.evaluation import Tally
from retrieval_gap.experiments.trained import run as trained_run
from retrieval_gap.experiments.trained.config import RunConfig
from retrieval_gap.experiments.trained.cost import cell_cost
from retrieval_gap.experiments.trained.forecast import estimate
from retrieval_gap.experiments.trained.paces import MeasuredPace
from retrieval_gap.runs.directory import RunDirectory
from tests.experiments.trained.test_cost import MACHINE
from tests.training.runs import execute

PROBLEMS = 30
FEW = f"""
from retrieval_gap.tasks.registry import load_task


class Few(load_task("index")):
    @property
    def problems(self):
        return {PROBLEMS} if self.config.split == "test" else None


TASK = Few
"""


@pytest.fixture
def config(tmp_path: Path) -> RunConfig:
    """A run on a task whose test split has PROBLEMS problems; it asks for 50."""
    (tmp_path / "few.py").write_text(FEW)
    return RunConfig(
        task=str(tmp_path / "few.py"),
        mode="direct",
        n=4,
        arch="lstm",
        size="tiny",
        samples=16,
        batch_size=8,
        warmup_samples=0,
        eval_samples=50,
    )


def test_the_forecast_counts_only_the_problems_of_the_split(config: RunConfig) -> None:
    enough = replace(config, eval_samples=PROBLEMS)
    assert cell_cost(config).evaluation == cell_cost(enough).evaluation
    assert cell_cost(config).decoded == PROBLEMS  # one answer each
    assert cell_cost(replace(config, eval_samples=7)).decoded == 7
    run = MeasuredPace(config=config, hardware="", threads=1, first=0.5, last=1.0, trained_s=1.0, tokens_per_s=2.0)
    assert estimate(config, MACHINE, [run], 0.0).seconds == pytest.approx(PROBLEMS / 2.0)


def test_progress_counts_only_the_problems_of_the_split(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, inner, told = RunDirectory.of(config, tmp_path), trained_run.write_tally, []

    def write_tally(run: RunDirectory, tally: Tally) -> None:
        inner(run, tally)
        told.append(config.progress(run).doing)

    monkeypatch.setattr(trained_run, "write_tally", write_tally)
    monkeypatch.setattr(trained_run, "_decode_batch", lambda model, task: 15)
    assert execute(config, tmp_path)["eval_samples"] == PROBLEMS
    assert told == ["decoding 50%", "decoding 100%"]
    assert run.result.exists()
