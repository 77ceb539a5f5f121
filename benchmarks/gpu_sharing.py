"""Several runs on one GPU at once, beside one alone: samples per second of all of them together.

Each is a process of its own, as `retrieval-gap sweep --per-gpu K` starts them.  Without NVIDIA's MPS (started by
`nvidia-cuda-mps-control -d`) the GPU runs one process at a time, in turns; with it their kernels run side by side.
"""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from multiprocessing.synchronize import Barrier

import torch

from retrieval_gap.experiments.trained.config import RunConfig
from retrieval_gap.models import SequenceModel
from retrieval_gap.tasks.api import Mode
from retrieval_gap.training.step import DeviceStep

from . import Row, gpu_training, row

NEEDS_GPU = True
DEVICE = "cuda"
SHARES = (2, 4)
ARCHS, SIZE = ("transformer", "mamba", "lstm"), "0.5m"
CELLS: tuple[tuple[Mode, int], ...] = (("direct", 16), ("cot", 64))
SECONDS = 5.0


def run() -> list[Row]:
    """A row for each architecture, view and number of runs."""
    rows = []
    for arch, (mode, n) in product(ARCHS, CELLS):
        config = RunConfig(task="istree", mode=mode, n=n, arch=arch, size=SIZE)
        alone = _together(config, 1)
        for runs in SHARES:
            name = f"{runs} runs at once, {arch} {SIZE}, istree {mode} n={n}"
            rows.append(row(name, _together(config, runs), alone, "samples/s", "one run alone"))
    return rows


def _together(config: RunConfig, runs: int) -> float:
    """Samples per second of that many runs at once."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(runs, spawn, initializer=_share, initargs=(spawn.Barrier(runs), DEVICE)) as pool:
        return sum(pool.map(_samples_per_s, [config] * runs, [SECONDS] * runs))


def _share(barrier: Barrier, device: str) -> None:
    """Give a worker the barrier at which it waits for the others, and the device that the driver measures on."""
    global _barrier
    _barrier, gpu_training.DEVICE = barrier, device


def _samples_per_s(config: RunConfig, seconds: float) -> float:
    task = config.build_task("train")
    model = SequenceModel(config.model(len(task.vocabulary))).to(torch.device(gpu_training.DEVICE))
    step = DeviceStep(model, config.training(), task.max_length)
    gpu_training.train_a_while(step, config, task, 0.0)  # captures
    _barrier.wait()
    return gpu_training.train_a_while(step, config, task, seconds).samples_per_s


_barrier: Barrier
