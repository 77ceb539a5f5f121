"""Compares kernels with their naive twins: the same inputs in float64, values and all gradients."""

from collections.abc import Callable

import torch
from torch import Tensor

Outputs = tuple[Tensor, ...]
TOLERANCE = 1e-4


def values_and_gradients(function: Callable[..., Outputs], inputs: list[Tensor | None], dtype: torch.dtype) -> Outputs:
    """Outputs, then the gradients of <outputs, weights> for weights that depend on the shapes alone; all on the CPU."""
    leaves = [None if t is None else t.detach().to(dtype).clone().requires_grad_() for t in inputs]
    outputs = function(*leaves)
    generator = torch.Generator().manual_seed(0)
    weights = [torch.randn(y.shape, generator=generator).to(y.device, dtype) for y in outputs]
    loss = sum((y * w).sum() for y, w in zip(outputs, weights, strict=True))
    present = [leaf for leaf in leaves if leaf is not None]
    return tuple(t.detach().cpu() for t in (*outputs, *torch.autograd.grad(loss, present)))


def assert_close(ours: Outputs, theirs: Outputs, names: list[str], tolerance: float = TOLERANCE) -> None:
    """Asserts that every tensor is within `tolerance` of the oracle's, relative to the oracle's largest entry."""
    for name, mine, oracle in zip(names, ours, theirs, strict=True):
        assert mine.shape == oracle.shape, name
        scale = oracle.abs().max().clamp(min=1e-30)
        assert ((mine - oracle).abs().max() / scale).item() < tolerance, name


def assert_same_bits(run: Callable[[], Outputs]) -> None:
    """Asserts that a kernel gives the same with one and two threads, and with fresh memory that is filled with NaN."""
    before, runs = torch.get_num_threads(), []
    try:
        for threads, poisoned in ((1, False), (2, False), (2, True)):
            torch.set_num_threads(threads)
            torch.use_deterministic_algorithms(poisoned)  # which fills fresh memory with NaN
            runs.append(run())
    finally:
        torch.set_num_threads(before)
        torch.use_deterministic_algorithms(False)
    assert all(tensor.isfinite().all() for tensor in runs[-1])
    for again in runs[1:]:
        assert all(torch.equal(a, b) for a, b in zip(runs[0], again, strict=True))
