"""Compiles the Triton scan for CUDA on a machine without a GPU, for the arguments that its own launches pass.

    python -m tests.kernels.cuda_compiler 80 90

prints, per compute capability and kernel, the registers of a thread and the bytes that did not fit into them, as the
assembler in Triton's wheel counts them. Run it in a process of its own: it puts itself in the place of Triton's driver.
"""

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.runtime import driver
from triton.runtime.jit import JITFunction

from retrieval_gap.kernels.selective_scan import triton as triton_scan
from tests.kernels.test_selective_scan import inputs

ASSEMBLER = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "ptxas"
ROWS = (0, 1, 3, 4, 6)  # x, delta, B, C, z: what comes in half precision
TOLD = {
    "registers": r"Used (\d+) registers",
    "bytes stored": r"(\d+) bytes spill stores",
    "bytes loaded": r"(\d+) bytes spill loads",
}


class _NoDevice:
    """What a launch asks the driver before it compiles."""

    def __init__(self, capability: int) -> None:
        self.target = GPUTarget("cuda", capability, 32)

    def get_current_device(self) -> int:
        return self.target.arch

    def get_current_stream(self, device: int) -> int:
        return 0

    def get_current_target(self) -> GPUTarget:
        return self.target


def compiled(capability: int, states: int, dtype: torch.dtype, *, optional: bool = True) -> dict[str, Any]:
    """Every kernel of a forward and backward scan, with z, bias and initial state where `optional`; by name."""
    kernels: dict[str, Any] = {}
    launch, processors = JITFunction.run, triton_scan._processors

    def compile_only(self: Any, *args: Any, grid: Any, warmup: bool, **kwargs: Any) -> None:
        kernel = launch(self, *args, grid=grid, warmup=True, **kwargs)
        kernels[kernel.name] = kernel

    arguments = [t.to(dtype) if i in ROWS else t for i, t in enumerate(inputs(2, 256, 128, states))]
    leaves = [t.requires_grad_() for t in arguments[: 9 if optional else 6]]
    driver.set_active(_NoDevice(capability))
    try:
        JITFunction.run = compile_only
        triton_scan._processors = lambda device: 1000  # so many that there are segments, whose kernels come too
        y, state = triton_scan.selective_scan(*leaves)
        torch.autograd.grad((y.sum() + state.sum()), leaves)
    finally:
        JITFunction.run, triton_scan._processors = launch, processors
    return kernels


def usage(kernel: Any) -> dict[str, int]:
    """Registers of a thread, and bytes that are kept in memory for want of registers, in instructions of a program."""
    ptx = kernel.asm["ptx"]
    with tempfile.NamedTemporaryFile("w", suffix=".ptx") as file:
        file.write(ptx)
        file.flush()
        target = re.findall(r"\.target (\w+)", ptx)[0]
        command = [str(ASSEMBLER), "-v", f"--gpu-name={target}", file.name, "-o", "/dev/null"]
        told = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    return {name: int(re.findall(pattern, told)[0]) for name, pattern in TOLD.items()}


def rows(capabilities: list[int]) -> Iterator[dict[str, Any]]:
    """The table that the module prints."""
    for capability in capabilities:
        for states, dtype in ((16, torch.float32), (16, torch.bfloat16), (5, torch.float32), (256, torch.float32)):
            for name, kernel in compiled(capability, states, dtype).items():
                row = {"sm": capability, "states": states, "dtype": str(dtype).removeprefix("torch."), "kernel": name}
                yield row | usage(kernel)


if __name__ == "__main__":
    for printed in rows([int(capability) for capability in sys.argv[1:]]):
        print(json.dumps(printed), flush=True)
