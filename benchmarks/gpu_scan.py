"""The Triton scan on a GPU, forward and backward: beside the CUDA kernel of `mamba_ssm` and what memory allows.

The floor is the time in which the GPU copies as many bytes as the scan must read and write: its inputs, its outputs
and their gradients, each once. The bandwidth of copying is measured in the same run.
"""

import statistics
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from retrieval_gap.kernels.dispatch import describe
from retrieval_gap.kernels.selective_scan import ScanInputs, backends, selective_scan

# (sequences, length, channels): those of the models, and large ones.
SHAPES = (
    *((64, 64, 128), (64, 512, 128), (64, 2560, 128), (64, 2560, 256)),
    *((512, 512, 128), (512, 2560, 128), (128, 5120, 512)),
)
STATES = 16
DTYPES = (torch.float32, torch.bfloat16)
ROUNDS = 20
NEEDS_GPU = True
COPIED_BYTES = 2**30


def run() -> list[dict[str, Any]]:
    """Milliseconds of a scan and its gradients, for each shape and type, and of its peers."""
    bytes_per_ms = _copy_bandwidth()
    rows = []
    for dtype in DTYPES:
        for shape in SHAPES:
            inputs = _inputs(*shape, dtype)
            name = f"scan, forward and backward, {'x'.join(map(str, shape))} {str(dtype).removeprefix('torch.')}"
            ours = _milliseconds(_task(lambda *given: selective_scan(ScanInputs(*given), backend="triton")[0], inputs))
            floor = _bytes_moved(inputs) / bytes_per_ms
            against = f"the memory's floor at {bytes_per_ms / 1e9:.2f} TB/s"
            rows.append(_row(name, ours, floor, against))
            if describe(backends())["mamba_ssm"] == "available by name":
                theirs = _milliseconds(_task(_mamba_ssm, _time_last(inputs)))
                rows.append(_row(name, ours, theirs, "the CUDA kernel of mamba_ssm"))
    return rows


def _row(name: str, ours: float, theirs: float, against: str) -> dict[str, Any]:
    return {"name": name, "ours": ours, "theirs": theirs, "ratio": theirs / ours, "unit": "ms", "against": against}


def _inputs(batch: int, length: int, channels: int, dtype: torch.dtype) -> list[Tensor]:
    """x, delta, A, B, C, D, z, delta_bias: A as Mamba initialises it, steps as small as Mamba's."""
    generator = torch.Generator("cuda").manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, device="cuda").to(dtype)

    A_DxN = -torch.arange(1.0, STATES + 1, device="cuda").repeat(channels, 1)
    wide, narrow = (batch, length, channels), (batch, length, STATES)
    return [
        *(normal(*wide), normal(*wide), A_DxN, normal(*narrow), normal(*narrow), torch.ones(channels, device="cuda")),
        *(normal(*wide), torch.full((channels,), -4.0, device="cuda")),
    ]


def _time_last(inputs: list[Tensor]) -> list[Tensor]:
    """The same in the layout that the CUDA kernel of `mamba_ssm` needs."""
    return [t.transpose(1, 2).contiguous() if t.ndim == 3 else t for t in inputs]


def _mamba_ssm(*inputs: Tensor) -> Tensor:
    from mamba_ssm.ops.selective_scan_interface import selective_scan_fn

    return selective_scan_fn(*inputs, delta_softplus=True)


def _task(scan: Callable[..., Tensor], inputs: list[Tensor]) -> Callable[[], None]:
    leaves = [tensor.clone().requires_grad_() for tensor in inputs]
    grad_y = torch.randn_like(inputs[0])

    def once() -> None:
        torch.autograd.grad(scan(*leaves), leaves, grad_y)

    return once


def _bytes_moved(inputs: list[Tensor]) -> int:
    """Inputs are read twice (forward, backward) and their gradients written; y is written, its gradient read."""
    every, y = sum(t.nbytes for t in inputs), inputs[0].nbytes
    return 3 * every + 2 * y


def _copy_bandwidth() -> float:
    """Bytes read and written per millisecond."""
    source = torch.zeros(COPIED_BYTES, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    return 2 * COPIED_BYTES / _milliseconds(lambda: target.copy_(source))


def _milliseconds(task: Callable[[], Any]) -> float:
    """Median time on the GPU; the first calls, which compile, do not count."""
    for _ in range(3):
        task()
    times = []
    for _ in range(ROUNDS):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        task()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end))
    return statistics.median(times)
