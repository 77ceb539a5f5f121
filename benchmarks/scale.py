"""What a larger grid would need from the host: data, checkpoints, result tables, starts of cells.

    retrieval-gap bench scale

Beside each is the rate that it has to keep up with, or the machine's best: what a GPU consumes (by the roofline of
experiments/trained/cost.py, an assumption), a plain write of the same bytes, one table of the same rows, a bare Python
that imports torch.  docs/scaling.md draws the conclusions.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from retrieval_gap.experiments.trained.config import RunConfig
from retrieval_gap.experiments.trained.cost import GPUS, cell_cost
from retrieval_gap.experiments.trained.run import execute
from retrieval_gap.machine.files import sync, write_json
from retrieval_gap.runs.directory import RunDirectory
from retrieval_gap.runs.experiment import RunOptions
from retrieval_gap.runs.known import finished_rows, known_runs
from retrieval_gap.tables.rows import read_table, write_rows
from retrieval_gap.tasks.api import Mode
from retrieval_gap.training.checkpoint import TrainingProgress, save_checkpoint

from . import Row, row

NODES = (64, 1024)
DRAWN = 512  # samples per measurement
PARAMETERS = (2_000_000, 20_000_000)
RUNS = 2_000
ROUNDS = 3
TINY = RunConfig(
    task="istree", mode="direct", n=6, arch="lstm", size="tiny", samples=8, batch_size=8, warmup_samples=0,
    eval_samples=1,
)  # fmt: skip


def run() -> Iterator[Row]:
    """Rates of one process; larger is better."""
    modes: tuple[Mode, ...] = ("cot", "rag")
    for mode in modes:
        for n in NODES:
            yield data(mode, n)
    with tempfile.TemporaryDirectory() as folder:
        for parameters in PARAMETERS:
            yield checkpoint(parameters, Path(folder))
        yield tables(Path(folder))
        yield from starts(Path(folder))


def data(mode: Mode, n: int) -> Row:
    """Tokens that one core draws, against those that the paper's smallest Transformer consumes on an H200."""
    config = RunConfig(task="istree", mode=mode, n=n, arch="transformer", size="0.5m")
    task, cost = config.build_task("train"), cell_cost(config)
    task.sample(np.arange(2))  # compiled

    def draw(first: int) -> float:
        return float(task.sample(np.arange(first, first + DRAWN)).length_B.sum())

    ours = max(_rate(lambda r=r: draw(r * DRAWN)) for r in range(ROUNDS))  # type: ignore[misc]
    theirs = cost.tokens / GPUS[0].seconds(cost.training)
    return row(f"data of istree {mode} n={n}", ours, theirs, "tokens/s", "what an H200 eats, by the roofline")


def checkpoint(parameters: int, folder: Path) -> Row:
    """A model's weights and moments, against as many bytes written and synced."""
    layer = nn.Linear(1000, parameters // 1000, bias=False)
    optimizer = torch.optim.AdamW(layer.parameters())
    for parameter in layer.parameters():
        optimizer.state[parameter] = {name: torch.randn_like(parameter) for name in ("exp_avg", "exp_avg_sq")}
    path, plain = folder / "checkpoint.safetensors", folder / "plain"

    def save() -> float:
        save_checkpoint(path, dict(layer.named_parameters()), optimizer, TrainingProgress())
        return path.stat().st_size

    def write() -> float:
        plain.write_bytes(content)
        sync(plain)
        return len(content)

    ours = max(_rate(save) for _ in range(ROUNDS))
    content = os.urandom(path.stat().st_size)
    theirs = max(_rate(write) for _ in range(ROUNDS))
    name = f"checkpoint of {parameters / 1e6:g}M parameters, {len(content) / 1e6:,.0f} MB"
    return row(name, ours / 1e6, theirs / 1e6, "MB/s", "a plain write of as many bytes")


def tables(folder: Path) -> Row:
    """Rows of finished runs from their directories, against the same rows from one table."""
    told = execute(TINY, RunOptions(runs_dir=folder / "one"))
    configs = [replace(TINY, seed=seed) for seed in range(RUNS)]
    for config in configs:
        path = folder / "many" / f"run-{config.seed}"
        path.mkdir(parents=True)
        write_json(path / "config.json", asdict(config))
        write_json(path / "result.json", told | {"seed": config.seed, "config_hash": f"{config.seed:012x}"})
    table = folder / "rows.csv"

    def gather() -> float:
        rows = finished_rows(known_runs(folder / "many"))
        write_rows(table, rows)
        return len(rows)

    ours = max(_rate(gather) for _ in range(ROUNDS))
    theirs = max(_rate(lambda: len(read_table(table))) for _ in range(ROUNDS))
    return row(f"rows of {RUNS:,} run directories into a table", ours, theirs, "rows/s", "reading that table")


def starts(folder: Path) -> Iterator[Row]:
    """A cell of one batch and one evaluated sample: as a command, and in a process that has imported everything."""
    words = "train --task istree --mode direct --n-nodes 6 --arch lstm --size tiny --samples 8 --batch-size 8"
    words += " --warmup-samples 0 --eval-samples 1 --threads 1 --device cpu --runs-dir"
    seeds = iter(range(1, 100))

    def command() -> float:
        flags = [*words.split(), str(folder / "starts"), "--seed", str(next(seeds))]
        return _process(["-m", "retrieval_gap.cli", *flags])

    def here() -> float:
        config = replace(TINY, seed=next(seeds))
        execute(config, RunOptions(runs_dir=folder / "starts"))
        assert RunDirectory.of(config, folder / "starts").status() == "done"
        return 1.0

    theirs = max(_rate(lambda: _process(["-c", "import torch"])) for _ in range(ROUNDS))
    for name, work in (("as a command", command), ("in a process that is up", here)):
        ours = max(_rate(work) for _ in range(ROUNDS))
        yield row(f"start and end of a cell {name}", ours, theirs, "cells/s", "a Python that imports torch")


def _process(words: Sequence[str]) -> float:
    subprocess.run([sys.executable, *words], check=True, capture_output=True)
    return 1.0


def _rate(work: Callable[[], float]) -> float:
    """Amount per second of `work`, which returns the amount."""
    began = time.perf_counter()
    amount = work()
    return amount / (time.perf_counter() - began)
