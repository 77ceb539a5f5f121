"""Choose which of a kernel's backends runs, and warn if a faster one could not."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import ModuleType

import torch
from torch import Tensor

_log = logging.getLogger(__name__)

OLDEST_CUDA = (8, 0)
TRITON_DTYPES = (torch.float32, torch.bfloat16, torch.float16)


@dataclass(frozen=True, kw_only=True)
class Backend:
    """A module that implements a kernel's functions, and the reasons why it cannot run.

    missing: why this machine cannot use it.  refuses: returns why it cannot take some tensors.  None: no objection.
    by_name: `auto` never takes it.  device: skipping it is worth a warning only for tensors on this device.
    """

    module: ModuleType | None
    missing: str | None = None
    refuses: Callable[[list[Tensor]], str | None] = lambda tensors: None
    by_name: bool = False
    device: str = "cpu"


def describe(backends: Mapping[str, Backend]) -> dict[str, str]:
    """Map the names of a kernel's backends, fastest first, to "available", "available by name" or why they are not."""
    usable = {name: "available by name" if backend.by_name else "available" for name, backend in backends.items()}
    return {name: backend.missing or usable[name] for name, backend in backends.items()}


def cpu_and_naive(
    module: str, naive: ModuleType, refuses: Callable[[list[Tensor]], str | None] = lambda tensors: None
) -> dict[str, Backend]:
    """Return "cpu", compiled by numba for float32 tensors to which `refuses` has no objection, and "naive", PyTorch."""

    compiled, missing = None, None
    if os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0"):
        missing = "NUMBA_DISABLE_JIT is set"
    else:
        try:
            compiled = importlib.import_module(module)
        except ImportError as error:
            missing = f"numba cannot be used: {error}"

    def refuses_any(tensors: list[Tensor]) -> str | None:
        return refuse_all_but_float32_on_cpu(tensors) or refuses(tensors)

    return {"cpu": Backend(module=compiled, missing=missing, refuses=refuses_any), "naive": Backend(module=naive)}


def triton_is_interpreted() -> bool:
    """Whether Triton's kernels run in its interpreter, on the CPU: slow, for tests without a GPU."""
    return os.environ.get("TRITON_INTERPRET", "0") == "1"


def find_triton_backend(module: str, refuses: Callable[[list[Tensor]], str | None]) -> Backend:
    """Return the Triton backend in a module; its `missing` is the reason why this machine cannot use it."""
    missing, by_name = _why_no_triton(), triton_is_interpreted()
    found = None if missing else importlib.import_module(module)
    return Backend(device="cuda", module=found, missing=missing, refuses=refuses, by_name=by_name)


def _why_no_triton() -> str | None:
    if importlib.util.find_spec("triton") is None:
        return "triton is not installed"
    if triton_is_interpreted():
        return None
    if not torch.cuda.is_available():
        return "torch finds no CUDA device"
    if (capability := torch.cuda.get_device_capability()) < OLDEST_CUDA:
        wanted, found = (".".join(map(str, pair)) for pair in (OLDEST_CUDA, capability))
        return f"it needs compute capability {wanted}, and the device has {found}"
    try:  # once per machine Triton compiles a little C to call the driver: that needs a C compiler and Python.h
        importlib.import_module("triton.runtime").driver.active.get_current_device()
    except Exception as error:
        return f"triton cannot launch kernels ({type(error).__name__}: {error})"
    return None


def refuse_what_triton_cannot_take(tensors: list[Tensor]) -> str | None:
    """Why these tensors cannot go through a Triton kernel; None if they can."""
    for tensor in tensors:
        if not (tensor.is_cuda or triton_is_interpreted()):
            return f"it takes tensors on a CUDA device, and one is on {tensor.device}"
        if tensor.device != tensors[0].device:
            return f"tensors are on {tensors[0].device} and on {tensor.device}"
        if tensor.dtype not in TRITON_DTYPES:
            wanted = ", ".join(map(_name_of, TRITON_DTYPES))
            return f"it takes {wanted}, and a tensor is {_name_of(tensor.dtype)}"
    return None


def refuse_strided_rows(rows: list[Tensor]) -> str | None:
    """Why these rows are refused: a last axis is not contiguous; None if all are."""
    for tensor in rows:
        if tensor.shape[-1] > 1 and tensor.stride(-1) != 1:
            shape, strides = tuple(tensor.shape), tensor.stride()
            return f"a tensor's last axis must be contiguous, and one of shape {shape} has strides {strides}"
    return None


def _name_of(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def refuse_all_but_float32_on_cpu(tensors: list[Tensor]) -> str | None:
    """Why these tensors cannot go through the CPU kernels; None if they can."""
    for tensor in tensors:
        if not tensor.is_cpu:
            return f"it takes tensors on the CPU, and one is on {tensor.device}"
        if tensor.dtype != torch.float32:
            return f"it takes float32, and a tensor is {_name_of(tensor.dtype)}"
    return None


def check_shapes(wanted: Mapping[str, tuple[Tensor, tuple[int, ...]]]) -> None:
    """Raise ValueError for a tensor of the wrong shape: kernels use raw addresses and would read and write past its
    end."""
    for name, (tensor, shape) in wanted.items():
        if tensor.shape != shape:
            raise ValueError(f"{name} has shape {tuple(tensor.shape)}; it must be {shape}")


def choose(kernel: str, backends: Mapping[str, Backend], name: str, tensors: Sequence[Tensor | None]) -> ModuleType:
    """Return the module of the backend `name`, or for "auto" of the first in `backends` that takes these tensors.

    Raises:
        ValueError: if no backend has this name.
        RuntimeError: if the backend cannot run here, or not on these tensors.
    """
    present = [tensor for tensor in tensors if tensor is not None]
    if name != "auto" and name not in backends:
        raise ValueError(f"unknown backend {name!r} of {kernel}; choose one of: auto, {', '.join(backends)}")
    reasons, slower_for = list[str](), list[str]()
    automatic = [candidate for candidate, backend in backends.items() if not backend.by_name]
    for candidate in automatic if name == "auto" else [name]:
        backend = backends[candidate]
        reason = backend.missing or backend.refuses(present)
        if reason is None and backend.module is not None:
            if slower_for:
                _say_once(f"{kernel} runs in the slower backend {candidate!r} ({'; '.join(slower_for)})")
            return backend.module
        reasons.append(f"{candidate}: {reason}")
        if present[0].device.type == backend.device:
            slower_for.append(reasons[-1])
    raise RuntimeError(f"{kernel} cannot run: {'; '.join(reasons)}")


@cache
def _say_once(message: str) -> None:
    _log.warning(message)
