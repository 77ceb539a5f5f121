"""Runs of trained models, for tests."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from retrieval_gap.experiments.trained import ranked, run
from retrieval_gap.experiments.trained.config import RunConfig
from retrieval_gap.runs.experiment import Row, RunOptions
from retrieval_gap.tables.rows import COLUMNS


def execute(config: RunConfig, runs_dir: Path, *, listener: run.Listener = run.NOBODY, **options: Any) -> Row:
    """The row of a run; `options` are those of `RunOptions`, with one thread by default."""
    return run.execute(config, RunOptions(**{"runs_dir": runs_dir, "threads": 1} | options), listener=listener)


def run_ranked(config: RunConfig, runs_dir: Path, ranks: int) -> Row | None:
    return ranked.run_ranked(config, RunOptions(runs_dir=runs_dir, threads=1), ranks=ranks)


def made_up_row(config: RunConfig, **changed: Any) -> Row:
    """A row that a run of this configuration could have, with 0.5 for what the run would measure."""
    same = {key: value for key, value in asdict(config).items() if key in COLUMNS}
    return dict.fromkeys(COLUMNS, 0.5) | same | {"config_hash": config.hash()} | changed
