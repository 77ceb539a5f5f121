"""Denormals: numbers too small for full precision (below 1.2e-38 in fp32), which slow processors down many times."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def flushed_denormals() -> Iterator[None]:
    """Within the context this thread treats denormal numbers as 0, if its processor can.

    A gradient that vanishes over hundreds of tokens passes through such numbers.
    """
    before = sys.float_info.min / 2 == 0.0
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)
