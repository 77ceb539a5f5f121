"""Runs to be packed and unpacked, for tests."""

import json
from dataclasses import replace
from pathlib import Path

import torch

from retrieval_gap.experiments.trained.config import RunConfig
from retrieval_gap.models import SequenceModel
from retrieval_gap.runs.directory import RunDirectory
from retrieval_gap.training.checkpoint import TrainingProgress, save_checkpoint
from tests.training.runs import made_up_row
from tests.training.test_loop import CONFIG

TINY = replace(CONFIG, arch="lstm")
GRU = Path(__file__).parents[2] / "retrieval_gap" / "models" / "gru.py"
RUN = RunDirectory.of(TINY, Path()).path.name


def make_run(runs_dir: Path, how: str, config: RunConfig = TINY) -> RunDirectory:
    """A run that is "done", "failed", at a step ("9"), or only a folder ("empty")."""
    run = RunDirectory.of(config, runs_dir)
    if how == "empty":
        run.path.mkdir(parents=True)
        return run
    run.create(config, {})
    if how == "done":
        run.result.write_text(json.dumps(made_up_row(config)))
    elif how == "failed":
        run.failure.write_text('{"reason": "the loss is nan"}')
    else:
        run.metrics.write_text(json.dumps({"step": int(how), "samples": 8 * int(how), "wall_s": 1.0}) + "\n")
        write_checkpoint(run, int(how))
    return run


def write_checkpoint(run: RunDirectory, step: int) -> None:
    parameters = SequenceModel(TINY.model(16)).trained_parameters()
    optimizer = torch.optim.AdamW(parameters.values())
    for parameter in parameters.values():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    save_checkpoint(run.checkpoint, parameters, optimizer, TrainingProgress(step=step))


def files_of(folder: Path) -> dict[str, bytes]:
    """The content of every file below a folder, except lock files, which are no part of a run."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "lock")
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}
