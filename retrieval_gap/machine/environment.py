"""What a number was measured on: versions, commit, hardware."""

import functools
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

PACKAGES = ("retrieval-gap", "torch", "numpy", "numba", "networkx", "safetensors", "google-re2")


@functools.cache
def describe(device: str = "cpu") -> dict[str, str]:
    """Versions, commit and hardware, as one line each.  device: what the work is done on, "cpu" or "cuda"."""
    return {
        "python": platform.python_version(),
        **{name: package_version(name) for name in PACKAGES},
        "commit": commit(),
        "hardware": hardware(device),
    }


def package_version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def commit() -> str:
    """The checkout's commit, with `+` where files differ from it; "unknown" outside a checkout."""
    root = Path(__file__).resolve().parents[2]
    try:
        git = ["git", "-C", str(root)]
        top, head = (
            subprocess.run([*git, "rev-parse", *words], capture_output=True, text=True, check=True).stdout.strip()
            for words in (["--show-toplevel"], ["--short=12", "HEAD"])
        )
        code = ["tasks", "retrieval_gap"]
        changed = subprocess.run([*git, "status", "--porcelain", "--", *code], capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    if Path(top) != root:
        return "unknown"  # installed inside somebody else's repository
    return head + ("+" if changed.stdout.strip() else "")


def hardware(device: str = "cpu") -> str:
    """What training and decoding run on: the GPU, or the processor and how many of its cores this process may use."""
    if device == "cuda":
        import torch  # seldom wanted, and slow to import

        return torch.cuda.get_device_name()
    return f"{_processor()}, {usable_cores()} cores"


def usable_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
