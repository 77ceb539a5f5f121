"""One function, several backends: which of them runs is decided here, and said where it matters."""

from __future__ import annotations

import importlib
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from types import ModuleType

import torch
from torch import Tensor

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Backend:
    """A module that implements a kernel's functions, and what stands in their way (None: nothing)."""

    module: ModuleType | None
    missing: str | None = None
    refuses: Callable[[list[Tensor]], str | None] = lambda tensors: None


def describe(backends: Mapping[str, Backend]) -> dict[str, str]:
    """The name of each backend of a kernel -> "available", or the reason why not; fastest first."""
    return {name: backend.missing or "available" for name, backend in backends.items()}


def find_cpu_backend(module: str) -> Backend:
    """The compiled backend in a module, or the reason why this machine cannot have it."""
    if os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0"):
        return Backend(module=None, missing="NUMBA_DISABLE_JIT is set")
    try:
        return Backend(module=importlib.import_module(module), refuses=refuse_all_but_float32_on_cpu)
    except ImportError as error:
        return Backend(module=None, missing=f"numba cannot be used: {error}")


def refuse_all_but_float32_on_cpu(tensors: list[Tensor]) -> str | None:
    """Why these tensors cannot go through the CPU kernels; None if they can."""
    for tensor in tensors:
        if not tensor.is_cpu:
            return f"it takes tensors on the CPU, and one is on {tensor.device}"
        if tensor.dtype != torch.float32:
            return f"it takes float32, and a tensor is {str(tensor.dtype).removeprefix('torch.')}"
    return None


def choose(kernel: str, backends: Mapping[str, Backend], name: str, tensors: list[Tensor | None]) -> ModuleType:
    """The module to run: the one called `name`, or for "auto" the first of `backends` that takes these tensors.

    Raises:
        ValueError: if no backend has this name.
        RuntimeError: if the backend that was asked for cannot run here, or not on these tensors.
    """
    present = [tensor for tensor in tensors if tensor is not None]
    if name != "auto" and name not in backends:
        raise ValueError(f"unknown backend {name!r} of {kernel}; choose one of: auto, {', '.join(backends)}")
    reasons: list[str] = []
    for candidate in backends if name == "auto" else [name]:
        backend = backends[candidate]
        reason = backend.missing or backend.refuses(present)
        if reason is None and backend.module is not None:
            if reasons:
                _say_once(f"{kernel} runs in the slower backend {candidate!r} ({'; '.join(reasons)})")
            return backend.module
        reasons.append(f"{candidate}: {reason}")
    raise RuntimeError(f"{kernel} cannot run: {'; '.join(reasons)}")


@cache
def _say_once(message: str) -> None:
    _log.warning(message)
