"""Numbers too small for their full precision (in fp32 below 1.2e-38), with which processors are many times as slow."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def flushed_denormals() -> Iterator[None]:
    """This thread takes denormal numbers for 0 while the context lasts, where its processor can.

    A gradient that vanishes along a text of hundreds of tokens passes through them.
    """
    before = sys.float_info.min / 2 == 0.0
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)
