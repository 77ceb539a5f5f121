"""Each compiled kernel beside the plain PyTorch that defines it: forward and backward, same inputs, in turn, medians.

The scan's peer is autograd through a loop over time, as the public implementations do it on a CPU.
"""

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from retrieval_gap.kernels.causal_conv1d import causal_conv1d
from retrieval_gap.kernels.fused import rms_norm, swiglu
from retrieval_gap.kernels.selective_scan import selective_scan, selective_scan_step

BATCH, LENGTH, LONG, CHANNELS, STATES = 64, 100, 2500, 128, 16
OUR_RUNS_PER_PEER_RUN = 5


def run() -> list[dict[str, Any]]:
    """Milliseconds of each kernel and of its peer, and how per-token time changes with length."""
    rows = [
        _row("selective scan, forward and backward", selective_scan, _scan_inputs(BATCH, LENGTH), 2),
        _row("selective scan, decode step", selective_scan_step, _step_inputs(BATCH), 30, training=False),
        _row("causal convolution, forward and backward", causal_conv1d, _convolution_inputs(), 5),
        _row("RMSNorm, forward and backward", rms_norm, [_normal(BATCH, LENGTH, 64), _normal(64)], 10),
        _row("SwiGLU, forward and backward", swiglu, [_normal(BATCH, LENGTH, 2 * 160)], 10),
    ]
    return [*rows, _long_sequences()]


def _row(
    name: str, kernel: Callable[..., Any], inputs: list[Tensor], peer_runs: int, *, training: bool = True
) -> dict[str, Any]:
    ours, theirs = (_task(kernel, inputs, backend, training) for backend in ("auto", "naive"))
    ours_ms, theirs_ms = _interleaved(ours, theirs, peer_runs)
    size = "x".join(str(n) for n in inputs[0].shape)
    return _result(f"{name}, {size}", ours_ms, theirs_ms, "ms", "plain PyTorch, in this run")


def _long_sequences() -> dict[str, Any]:
    """The same number of tokens in sequences of 2500: microseconds a token, beside those of sequences of 100."""
    batch = BATCH * LENGTH // LONG
    long_ms, short_ms = _interleaved(
        _task(selective_scan, _scan_inputs(batch, LONG), "auto", True),
        _task(selective_scan, _scan_inputs(batch * LONG // LENGTH, LENGTH), "auto", True),
        10,
    )
    per_token = 1e3 / (batch * LONG)
    name = f"selective scan a token, length {LONG}"
    return _result(name, long_ms * per_token, short_ms * per_token, "us", f"the same kernel at length {LENGTH}")


def _result(name: str, ours: float, theirs: float, unit: str, against: str) -> dict[str, Any]:
    return {"name": name, "ours": ours, "theirs": theirs, "ratio": theirs / ours, "unit": unit, "against": against}


def _task(kernel: Callable[..., Any], inputs: list[Tensor], backend: str, training: bool) -> Callable[[], None]:
    leaves = [tensor.clone().requires_grad_(training) for tensor in inputs]

    def once() -> None:
        with torch.set_grad_enabled(training):
            outputs = kernel(*leaves, backend=backend)
            y = outputs if isinstance(outputs, Tensor) else outputs[0]
            if training:
                torch.autograd.grad(y, leaves, torch.ones_like(y))

    return once


def _interleaved(ours: Callable[[], None], theirs: Callable[[], None], rounds: int) -> tuple[float, float]:
    """Median milliseconds of both, measured in turn so that neither has the quieter machine."""
    ours()  # compiles
    theirs()
    our_ms, their_ms = [], []
    for _ in range(rounds):
        their_ms.append(_milliseconds(theirs))
        our_ms += [_milliseconds(ours) for _ in range(OUR_RUNS_PER_PEER_RUN)]
    return statistics.median(our_ms), statistics.median(their_ms)


def _milliseconds(task: Callable[[], None]) -> float:
    start = time.perf_counter()
    task()
    return 1e3 * (time.perf_counter() - start)


def _normal(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(len(shape)))


def _scan_inputs(batch: int, length: int) -> list[Tensor]:
    """x, delta, A, B, C, D, z, delta_bias: A as Mamba initialises it, steps as small as they are there."""
    wide, narrow = (batch, length, CHANNELS), (batch, length, STATES)
    A_DxN = -torch.arange(1.0, STATES + 1).repeat(CHANNELS, 1)
    return [
        *(_normal(*wide), 0.5 * _normal(*wide), A_DxN, _normal(*narrow), _normal(*narrow), torch.ones(CHANNELS)),
        *(_normal(*wide), torch.full((CHANNELS,), -4.0)),
    ]


def _step_inputs(batch: int) -> list[Tensor]:
    x, delta, A, B, C, D, z, bias = _scan_inputs(batch, 1)
    flat = (x[:, 0], delta[:, 0], A, B[:, 0], C[:, 0], D, z[:, 0], bias)
    return [*flat, _normal(batch, CHANNELS, STATES)]


def _convolution_inputs() -> list[Tensor]:
    return [_normal(BATCH, LENGTH, CHANNELS), _normal(CHANNELS, 4), _normal(CHANNELS)]


if __name__ == "__main__":
    for row in run():
        print(row)
