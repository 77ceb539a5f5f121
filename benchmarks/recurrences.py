"""Recurrent mixers in chunks beside the plain recurrence, token by token: forward and backward, one thread, float32.

The mixers are those of the `tiny` models (width 64), with the same weights for both ways.
"""

import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from benchmarks import row
from retrieval_gap.models import architecture
from retrieval_gap.models.mixer import Mixer, Residual

CHUNKED = {
    "gla": "tiny",
    "gated_deltanet": "tiny",
    "gated_deltaproduct": "tiny",
    "mamba2": "tiny",
    "mamba2, turning": "tiny+rotation=data",
    "log_linear_gla": "tiny",
}
BATCH, LENGTHS, ROUNDS = 32, (64, 256), 3


def run() -> Iterator[dict[str, Any]]:
    """Tokens per second of each mixer and length; the best of a few rounds."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield from (_measure(name, size, length) for name, size in CHUNKED.items() for length in LENGTHS)
    finally:
        torch.set_num_threads(threads)


def _measure(name: str, size: str, length: int) -> dict[str, Any]:
    first = next(iter(architecture(name.partition(",")[0], size).layers()))
    assert isinstance(first, Residual)
    x_BxLxD = torch.randn(BATCH, length, first.norm.weight.shape[0], generator=torch.Generator().manual_seed(0))
    ours, theirs = (min(_seconds(first.mixer, x_BxLxD, way) for _ in range(ROUNDS)) for way in (_chunked, _plain))
    tokens = BATCH * length
    what = f"{name}, forward and backward, {BATCH} x {length} tokens"
    return row(what, tokens / ours, tokens / theirs, "tokens/s", "the recurrence token by token")


def _chunked(mixer: Mixer, x_BxLxD: Tensor) -> Tensor:
    return mixer(x_BxLxD)


def _plain(mixer: Mixer, x_BxLxD: Tensor) -> Tensor:
    state, outputs = mixer.init_state(len(x_BxLxD)), []
    for x_BxD in x_BxLxD.unbind(1):
        y_BxD, state = mixer.step(x_BxD, state)
        outputs.append(y_BxD)
    return torch.stack(outputs, 1)


def _seconds(mixer: Mixer, x_BxLxD: Tensor, way: Callable[[Mixer, Tensor], Tensor]) -> float:
    begin = time.perf_counter()
    way(mixer, x_BxLxD).square().sum().backward()
    return time.perf_counter() - begin
