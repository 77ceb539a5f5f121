"""What this machine has, which backend each part will use, and why."""

import importlib.util
import sys
import time

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from retrieval_gap.decoding.decode import decode
from retrieval_gap.decoding.retrieval import make_retriever
from retrieval_gap.kernels import causal_conv1d, mamba, residual, rms_norm, selective_scan
from retrieval_gap.machine import environment
from retrieval_gap.models import ARCHITECTURES, ModelConfig, SequenceModel, architecture
from retrieval_gap.tasks.api import TaskConfig
from retrieval_gap.tasks.registry import load_task

OPTIONAL = {
    "ray": "sweeps on clusters",
    "transformers": "oracle of the model tests, peer of the benchmarks",
}


def print_report() -> None:
    """Prints a table, then tries every architecture and says which work here.

    The first call on a machine compiles the kernels, which takes about a minute; they are kept on disk.
    """
    table = Table(box=None, pad_edge=False, show_header=False)
    for name, value in environment.describe().items():
        table.add_row(name, value)
    table.add_row("processor", f"{torch.backends.cpu.get_cpu_capability()}, {torch.get_num_threads()} threads")
    table.add_row("device", _device())
    table.add_row("search", f"google-re2 {environment.package_version('google-re2')} (exact), numba (fast)")
    for kernel in (selective_scan, causal_conv1d, mamba, residual, rms_norm):
        backends = kernel.available_backends()
        chosen = next(name for name, state in backends.items() if state == "available")
        told = (f"{name}: {state}" + (" (will be used)" if name == chosen else "") for name, state in backends.items())
        table.add_row(kernel.__name__.rpartition(".")[2], "; ".join(told))
    for name, purpose in OPTIONAL.items():
        state = "installed" if importlib.util.find_spec(name) else "not installed"
        table.add_row(name, f"{state}: {purpose}")
    console = Console(width=None if sys.stdout.isatty() else 160)
    console.print(table)
    started = time.perf_counter()
    for arch in ARCHITECTURES:
        try_out(arch)
        console.print(f"{arch}: trains and decodes with retrieval ({time.perf_counter() - started:.1f} s so far)")


def try_out(arch: str) -> None:
    """One training step and a few decoded tokens of a tiny model; whatever fails raises."""
    task = load_task("istree")(TaskConfig(n=6, mode="rag"))
    batch = task.sample(np.arange(8))
    model = SequenceModel(ModelConfig(architecture=architecture(arch, "tiny"), vocab_size=len(task.vocabulary)))
    model.loss(torch.from_numpy(batch.tokens_BxL), torch.from_numpy(batch.loss_mask_BxL)).backward()
    decode(
        model,
        batch.tokens_BxL,
        batch.prompt_len_B,
        answers=task.answers,
        max_length=int(batch.prompt_len_B[0]) + 8,
        retriever=make_retriever(task),
    )


def _device() -> str:
    if torch.cuda.is_available():
        return f"cuda: {torch.cuda.device_count()} x {torch.cuda.get_device_name()} (will be used)"
    return "cpu (torch finds no CUDA device)"
