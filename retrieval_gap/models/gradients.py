"""Gradients of parameters that a batch does not reach."""

from collections.abc import Iterable

import torch
from torch import nn


def fill_missing(parameters: Iterable[nn.Parameter]) -> None:
    """Set a zero gradient for each parameter that the last backward pass did not reach, such as one of several experts.

    An optimiser skips a parameter without a gradient, so its moments and step count would not match the step in a
    checkpoint; and ranks that share a batch would exchange different tensors.
    """
    for parameter in parameters:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
