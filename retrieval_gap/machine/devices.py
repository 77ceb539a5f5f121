"""Devices: choosing one, its float32 arithmetic, and running out of its memory."""

from collections.abc import Sequence
from typing import Any

import torch

from retrieval_gap.choices import DeviceName
from retrieval_gap.machine.errors import UsageError

CPU = torch.device("cpu")


def choose_device(name: DeviceName) -> torch.device:
    """The device; `auto` is a GPU if torch finds one.  Raises UsageError for `cuda` if torch finds none."""
    if name == "cpu":
        return CPU
    found = torch.cuda.is_available()
    if name == "cuda" and not found:
        raise UsageError("device cuda is not here: torch finds no GPU (retrieval-gap doctor tells what it finds)")
    return torch.device("cuda") if found else CPU


def visible_gpus(device: DeviceName, visible: str | None) -> list[str]:
    """The GPUs available to workers, each as a value of CUDA_VISIBLE_DEVICES; none on the CPU.

    visible: the current value of that variable; its names (numbers or identifiers) are kept.
    """
    if choose_device(device) == CPU:
        return []
    names = (visible or "").split(",") if visible else map(str, range(torch.cuda.device_count()))
    return list(names)[: torch.cuda.device_count()]


def worker_places(gpus: Sequence[str], *, workers: int, per_gpu: int, cores: int) -> list[str]:
    """The GPU of each worker of a pool, "" for a worker on the CPU; all GPUs get one before any gets a second.

    workers, per_gpu: number of workers in all and per GPU; 0 for the default (one per core; one per GPU).
    Raises UsageError for `workers` on GPUs, or `per_gpu` without any.
    """
    if gpus and workers:
        raise UsageError(
            "--workers counts processes on the CPU (--device cpu); on GPUs, --per-gpu those that share one"
        )
    if per_gpu and not gpus:
        raise UsageError("--per-gpu needs a GPU, and there is none to run on")
    return list(gpus) * (per_gpu or 1) if gpus else [""] * (workers or cores)


def allow_tf32(allowed: bool) -> None:
    """Set whether a GPU may round the factors of float32 products to TF32 (10 bits of mantissa).

    torch's default allows it for cuDNN but not for cuBLAS.
    """
    cudnn: Any = torch.backends.cudnn
    backends: tuple[Any, ...] = (torch.backends.cuda.matmul, cudnn.conv, cudnn.rnn)
    for backend in backends:
        backend.fp32_precision = "tf32" if allowed else "ieee"


def is_out_of_memory(error: BaseException | None) -> bool:
    """Whether an error is, was caused by, or came up while handling an out-of-memory error of a device."""
    while error is not None:
        if isinstance(error, torch.OutOfMemoryError):
            return True
        error = error.__cause__ or error.__context__
    return False


def memory_message(device: torch.device) -> str:
    """Free and total memory of a GPU, for a message; "" on the CPU."""
    if device.type != "cuda":
        return ""
    free, total = torch.cuda.mem_get_info(device)
    return f"{free:,} of {total:,} bytes are free"
