"""The environment of a measurement: versions, commit, hardware."""

import functools
import math
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

PACKAGES = ("retrieval-gap", "torch", "numpy", "numba", "networkx", "safetensors", "google-re2")


@functools.cache
def describe(device: str = "cpu") -> dict[str, str]:
    """Versions, commit and hardware, one line each.  device: the device in use, "cpu" or "cuda"."""
    return {
        "python": platform.python_version(),
        **{name: package_version(name) for name in PACKAGES},
        "commit": commit(),
        "hardware": hardware(device),
    }


def measured_on() -> dict[str, str]:
    """The columns of a row about where it was measured on a CPU: hardware, torch, commit."""
    told = describe()
    return {key: told[key] for key in ("hardware", "torch", "commit")}


def package_version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def commit() -> str:
    """The checkout's commit, with `+` if code differs from it; "unknown" outside a checkout."""
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
        return "unknown"  # installed inside another project's repository
    return head + ("+" if changed.stdout.strip() else "")


def hardware(device: str = "cpu") -> str:
    """The hardware in use: the GPU, or the processor and the number of its cores that this process may use."""
    if device == "cuda":
        import torch  # seldom needed, and slow to import

        return torch.cuda.get_device_name()
    return f"{_processor()}, {usable_cores()} cores"


def usable_cores() -> int:
    """Number of cores that this process may keep busy: those it may run on, or a container's quota if that is less."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, int(min(cores, cpu_quota())))


def cpu_quota(root: Path = Path("/")) -> float:
    """CPU quota of this process, in processors, as set by control groups (`docker run --cpus`); infinite without one.

    Reads both versions of control groups; a container sees its own group as the top one.  root: for tests.
    """
    groups = root / "sys/fs/cgroup"
    try:
        named = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return math.inf
    quotas = [math.inf]
    for line in named:
        _, controllers, name = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        top = groups / "cpu" if controllers else groups
        own = top / name.lstrip("/")
        quotas += [_quota(place) for place in (own, *own.parents) if place == top or top in place.parents]
    return min(quotas)


def _quota(group: Path) -> float:
    try:
        if (group / "cpu.max").exists():
            quota, period = (group / "cpu.max").read_text().split()
        else:
            quota, period = ((group / f"cpu.cfs_{what}_us").read_text().strip() for what in ("quota", "period"))
        return float(quota) / float(period) if quota not in ("max", "-1") else math.inf
    except (OSError, ValueError, ZeroDivisionError):
        return math.inf


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
