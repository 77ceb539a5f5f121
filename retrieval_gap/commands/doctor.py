"""`retrieval-gap doctor`: what this machine has, which backend each part will use, and why."""

import importlib.util
import shutil
import sys
import time

import numpy as np
import torch
from rich.markup import escape
from rich.table import Table

from retrieval_gap.decoding.decode import decode
from retrieval_gap.decoding.retrieval import make_retriever
from retrieval_gap.kernels import causal_conv1d, mamba, residual, rms_norm, selective_scan
from retrieval_gap.kernels.dispatch import describe
from retrieval_gap.kernels.selective_scan.mamba_ssm import EXTENSION
from retrieval_gap.machine import environment
from retrieval_gap.machine.terminal import wide_console
from retrieval_gap.models import ARCHITECTURES, ModelConfig, SequenceModel, architecture
from retrieval_gap.tasks.api import TaskConfig
from retrieval_gap.tasks.registry import load_task

OPTIONAL = {
    "ray": "sweeps on clusters",
    "transformers": "oracle of the model tests, peer of the benchmarks",
}


INSTALL_GPU = "pip install --no-build-isolation 'retrieval-gap[gpu]'"
COMPILE_MAMBA = (
    "MAMBA_FORCE_BUILD=TRUE pip install --no-build-isolation --no-deps --no-cache-dir --force-reinstall mamba-ssm"
)


def print_report() -> None:
    """Print a table, then try every architecture; the first that does not work here raises.

    The first call on a machine compiles the kernels, which takes about a minute; they are kept on disk.
    """
    table = Table(box=None, pad_edge=False, show_header=False)
    for name, value in environment.describe().items():
        table.add_row(name, escape(value))
    table.add_row("processor", f"{torch.backends.cpu.get_cpu_capability()}, {torch.get_num_threads()} threads")
    table.add_row("device", _device())
    table.add_row("search", f"google-re2 {environment.package_version('google-re2')} (exact), numba (fast)")
    for kernel in (selective_scan, causal_conv1d, mamba, residual, rms_norm):
        backends = describe(kernel.backends())
        chosen = next(name for name, state in backends.items() if state == "available")
        told = (f"{name}: {state}" + (" (will be used)" if name == chosen else "") for name, state in backends.items())
        table.add_row(kernel.__name__.rpartition(".")[2], escape("; ".join(told)))
    for name, purpose in OPTIONAL.items():
        state = "installed" if _is_installed(name) else "not installed"
        table.add_row(name, escape(f"{state}: {purpose}"))
    for name, state in gpu_packages().items():
        table.add_row(name, escape(state))
    console = wide_console()
    console.print(table)
    started = time.perf_counter()
    for arch in ARCHITECTURES:
        try_out(arch)
        console.print(f"{arch}: trains and decodes with retrieval ({time.perf_counter() - started:.1f} s so far)")


def gpu_packages() -> dict[str, str]:
    """Whether the packages of the extra `gpu` and their compiled parts are there, and how to install missing ones."""
    if not sys.platform.startswith("linux"):
        return {"gpu": "the packages of the extra gpu are for Linux"}
    return {"triton": _triton(), "mamba_ssm": _mamba_ssm()}


def _triton() -> str:
    if _is_installed("triton"):
        return "installed: kernels for NVIDIA GPUs"
    return f"not installed: kernels for NVIDIA GPUs; {INSTALL_GPU}"


def _mamba_ssm() -> str:
    """The state of mamba_ssm, which needs a part that is compiled for the installed torch and CUDA."""
    if not _is_installed("mamba_ssm"):
        return f"not installed: a peer of our scan, on NVIDIA GPUs; {INSTALL_GPU}"
    if not _is_installed(EXTENSION):
        return f"installed without its compiled part ({EXTENSION}); {_toolkit()}: {COMPILE_MAMBA}"
    return "installed, with its compiled part: a peer of our scan, --scan-backend mamba_ssm"


def _toolkit() -> str:
    wanted = torch.version.cuda
    if wanted is None:
        return "this torch is built without CUDA: install one that is, and then"
    return f"with nvcc of CUDA {wanted}, which this torch is built with, and a C++ compiler" + (
        "" if shutil.which("nvcc") else " (there is no nvcc on the path)"
    )


def _is_installed(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


def try_out(arch: str) -> None:
    """Run a tiny model forward and backward, and decode a few tokens; whatever fails raises."""
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
