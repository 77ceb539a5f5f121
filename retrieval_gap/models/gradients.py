"""Gradients of parameters that a batch does not reach."""

from collections.abc import Iterable

import torch
from torch import nn


def fill_missing(parameters: Iterable[nn.Parameter]) -> None:
    """Zeros for every parameter that the last backward pass has not reached, such as one expert of several.

    An optimiser passes over a parameter without a gradient, whose moments and count of steps would then be of other
    steps than a checkpoint says; and ranks that share a batch would send each other different tensors.
    """
    for parameter in parameters:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
