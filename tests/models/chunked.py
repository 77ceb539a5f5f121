"""Checks that a chunked form equals its plain recurrence, and stays finite if a decay forgets everything."""

from collections.abc import Callable

import torch
from torch import Tensor

Recurrence = Callable[..., tuple[Tensor, Tensor]]


def random(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def check_values_and_gradients(chunked: Recurrence, naive: Recurrence, inputs: list[Tensor], tolerance: float) -> None:
    results = []
    for function in (chunked, naive):
        leaves = [t.clone().requires_grad_() for t in inputs]
        outputs, state = function(*leaves)
        weights = random(*outputs.shape, seed=8)
        ((outputs * weights).sum() + state.square().sum()).backward()
        results.append([outputs.detach(), state.detach(), *(leaf.grad for leaf in leaves)])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance / 10)


def check_total_decay(chunked: Recurrence, naive: Recurrence, inputs: list[Tensor], tolerance: float) -> None:
    """Checks a log decay (the fourth input) of -10,000 for 20 tokens, then near 0."""
    inputs[3] = torch.full_like(inputs[3], -1e4)
    inputs[3][:, 20:] = -1e-4
    leaves = [t.float().requires_grad_() for t in inputs]
    outputs, _ = chunked(*leaves)
    outputs.square().sum().backward()
    assert all(torch.isfinite(leaf.grad).all() for leaf in leaves if leaf.grad is not None)
    torch.testing.assert_close(outputs.double(), naive(*inputs)[0], rtol=tolerance, atol=tolerance / 10)
