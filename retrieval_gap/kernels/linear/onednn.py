"""A linear layer by oneDNN, which PyTorch carries beside MKL and uses for other types than float32.

MKL takes its AVX-512 code on Intel's processors alone; oneDNN takes its own wherever a processor has AVX-512, and is
about twice as fast on AMD's (docs/cpu.md).  Legend: R rows, D inputs, F outputs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from retrieval_gap.kernels.dispatch import refuse_all_but_float32_on_cpu

__all__ = ["linear", "refuses", "why_missing"]


def why_missing() -> str | None:
    """Why MKL is to be preferred here; None where oneDNN is the faster one."""
    if not hasattr(torch.ops.mkldnn, "_linear_pointwise"):  # what torch.compile calls; not documented
        return "this PyTorch has no linear layer of oneDNN"
    if torch.backends.cpu.get_cpu_capability() != "AVX512":
        return "the processor has no AVX-512"
    try:
        processor = Path("/proc/cpuinfo").read_text()
    except OSError:
        return "the processor's maker is not known"
    return "MKL has AVX-512 code for Intel's processors" if "GenuineIntel" in processor else None


def refuses(tensors: list[Tensor]) -> str | None:
    """Why these tensors cannot go through oneDNN; None if they can."""
    switched_off = None if torch.backends.mkldnn.enabled else "torch.backends.mkldnn is switched off"
    return refuse_all_but_float32_on_cpu(tensors) or switched_off


def linear(x_RxD: Tensor, weight_FxD: Tensor) -> Tensor:
    """See `retrieval_gap.kernels.linear`."""
    return _Linear.apply(x_RxD, weight_FxD)


def _product(x_RxD: Tensor, weight_FxD: Tensor) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(x_RxD, weight_FxD, None, "none", [], "")


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_RxD: Tensor, weight_FxD: Tensor) -> Tensor:
        ctx.save_for_backward(x_RxD, weight_FxD)
        return _product(x_RxD, weight_FxD)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_y: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x_RxD, weight_FxD = ctx.saved_tensors
        grad_x = _product(grad_y, weight_FxD.t()) if ctx.needs_input_grad[0] else None
        if not ctx.needs_input_grad[1]:
            return grad_x, None
        x_RxD, grad_y_RxF = (tensor.reshape(-1, tensor.shape[-1]) for tensor in (x_RxD, grad_y))
        # Over many rows oneDNN is the faster one for wide outputs alone.
        wide = grad_y_RxF.shape[1] >= 2 * x_RxD.shape[1]
        return grad_x, _product(x_RxD.t(), grad_y_RxF.t()).t() if wide else grad_y_RxF.t() @ x_RxD
