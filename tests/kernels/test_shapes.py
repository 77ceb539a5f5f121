"""Kernels work on addresses, so every backend refuses shapes that do not fit, and no kernel reads out of bounds."""

import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from retrieval_gap.kernels.causal_conv1d import causal_conv1d
from retrieval_gap.kernels.mamba import MambaWeights, residual_mamba, residual_mamba_step
from retrieval_gap.kernels.residual import (
    AttentionWeights,
    residual_attention,
    residual_attention_step,
    residual_swiglu,
)
from retrieval_gap.kernels.rms_norm import rms_norm

B, L, D, F, E = 3, 5, 32, 48, 16
backends = pytest.mark.parametrize("backend", ["cpu", "naive", "auto"])


def attention(backend: str, *given: Tensor, step: bool = False) -> Tensor:
    x, *weights = given
    rope = torch.zeros(L, E)
    if step:
        caches = (torch.zeros(len(x), D // E, 4, E), torch.zeros(len(x), D // E, 4, E))
        return residual_attention_step(x[:, 0], AttentionWeights(*weights), rope[0], caches, backend=backend)
    return residual_attention(x, AttentionWeights(*weights), rope[: x.shape[1]], backend=backend)


def mamba(backend: str, *given: Tensor, step: bool = False) -> Tensor:
    x, *weights = given
    if step:
        state = (torch.zeros(B, 3, 2 * D), torch.zeros(B, 2 * D, 16))
        return residual_mamba_step(x[:, 0], MambaWeights(*weights), state, backend=backend)[0]
    return residual_mamba(x, MambaWeights(*weights), backend=backend)[0]


MAMBA_SHAPES = [
    *((D,), (4 * D, D), (2 * D, 4), (2 * D,), (2 + 32, 2 * D), (2 * D, 2), (2 * D,), (2 * D, 16), (2 * D,)),
    (D, 2 * D),
]
KERNELS: dict[str, tuple[Callable[..., object], list[tuple[int, ...]]]] = {
    "rms_norm": (lambda backend, x, gain: rms_norm(x, gain, backend=backend), [(D,)]),
    "swiglu": (lambda backend, *given: residual_swiglu(*given, backend=backend), [(D,), (2 * F, D), (D, F)]),
    "attention": (attention, [(D,), (3 * D, D), (D, D)]),
    "attention_step": (lambda *given: attention(*given, step=True), [(D,), (3 * D, D), (D, D)]),
    "mamba": (mamba, MAMBA_SHAPES),
    "mamba_step": (lambda *given: mamba(*given, step=True), MAMBA_SHAPES),
    "causal_conv1d": (lambda backend, *given: causal_conv1d(*given, backend=backend), [(D, 4), (D,)]),
}
EVERY_WEIGHT = [(name, place) for name, (_, shapes) in KERNELS.items() for place in range(len(shapes))]


@backends
@pytest.mark.parametrize(("name", "place"), EVERY_WEIGHT)
def test_a_weight_that_does_not_fit_is_refused(name: str, place: int, backend: str) -> None:
    function, shapes = KERNELS[name]
    x, weights = torch.zeros(B, L, D), [torch.zeros(shape) for shape in shapes]
    function(backend, x, *weights)
    for larger in (16, -16):
        wrong = list(weights)
        wrong[place] = torch.zeros(shapes[place][0] + larger, *shapes[place][1:])
        with pytest.raises(ValueError, match=r"has shape \(.*\); it must be \("):
            function(backend, x, *wrong)


def test_a_convolution_state_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"state has shape \(2, 3, 32\); it must be \(3, 3, 32\)"):
        causal_conv1d(torch.zeros(B, L, D), torch.zeros(D, 4), torch.zeros(D), initial_state_BxKxD=torch.zeros(2, 3, D))


@backends
@pytest.mark.parametrize(("batch", "length"), [(0, L), (B, 0), (0, 0)])
def test_attention_over_an_empty_batch_or_sequence_is_empty(batch: int, length: int, backend: str) -> None:
    if backend == "cpu":
        pytest.skip("the compiled kernel is never given nothing")
    weights = [torch.ones(shape) for shape in KERNELS["attention"][1]]
    assert attention(backend, torch.zeros(batch, length, D), *weights).shape == (batch, length, D)


# Scratch memory that ends at the start of an unreadable page: a process that reads past it is killed.
GUARDED = """
import ctypes, mmap, sys, torch, numpy as np
from retrieval_gap.kernels.residual import AttentionWeights, residual_attention

real, kept, libc = torch.empty, [], ctypes.CDLL(None)

def guarded(*size, **given):
    if given.get("dtype") is not torch.uint8:
        return real(*size, **given)
    room = -(-size[0] // mmap.PAGESIZE) * mmap.PAGESIZE
    memory = mmap.mmap(-1, room + mmap.PAGESIZE)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    assert libc.mprotect(ctypes.c_void_p(address + room), mmap.PAGESIZE, 0) == 0
    kept.append(memory)
    return torch.from_numpy(np.frombuffer(memory, np.uint8, count=size[0], offset=room - size[0]))

torch.empty = guarded
for length, heads in ((1, 8), (1, 64), (2, 64), (3, 64), (4, 64), (17, 8)):
    width = 16 * heads
    x = torch.randn(1, length, width, requires_grad=True)
    weights = AttentionWeights(torch.ones(width), torch.randn(3 * width, width), torch.randn(width, width))
    residual_attention(x, weights, torch.zeros(length, 16), backend="cpu").sum().backward()
print("in its memory", len(kept))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="protects a page by Linux's mprotect")
def test_attention_reads_no_further_than_its_scratch_memory() -> None:
    done = subprocess.run([sys.executable, "-c", GUARDED], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-500:]
    assert done.stdout.startswith("in its memory")
