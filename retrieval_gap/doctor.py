"""What this machine has, which backend each part will use, and why."""

import importlib.util
import sys

import torch
from rich.console import Console
from rich.table import Table

from retrieval_gap import environment
from retrieval_gap.kernels.selective_scan import available_backends

OPTIONAL = {
    "triton": "CUDA kernels",
    "mamba_ssm": "a CUDA scan to compare with",
    "ray": "sweeps on clusters",
    "transformers": "oracle of the model tests, peer of the benchmarks",
}


def print_report() -> None:
    """Prints one table; nothing is changed."""
    table = Table(box=None, pad_edge=False, show_header=False)
    for name, value in environment.describe().items():
        table.add_row(name, value)
    table.add_row("processor", f"{torch.backends.cpu.get_cpu_capability()}, {torch.get_num_threads()} threads")
    table.add_row("device", _device())
    table.add_row("search", f"google-re2 {environment.package_version('google-re2')} (exact), numba (fast)")
    backends = available_backends()
    chosen = next(name for name, state in backends.items() if state == "available")
    for name, state in backends.items():
        table.add_row(f"selective scan: {name}", state + (" (will be used)" if name == chosen else ""))
    for name, purpose in OPTIONAL.items():
        state = "installed" if importlib.util.find_spec(name) else "not installed"
        table.add_row(name, f"{state}: {purpose}")
    Console(width=None if sys.stdout.isatty() else 160).print(table)


def _device() -> str:
    if torch.cuda.is_available():
        return f"cuda is present ({torch.cuda.get_device_name()}) but not used yet: training and decoding run on cpu"
    return "cpu (torch finds no CUDA device)"
