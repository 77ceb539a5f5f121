"""Compiles the Triton scan for CUDA on a machine without a GPU, for the arguments that its own launches pass.

    python -m tests.kernels.cuda_compiler registers 80 90
    python -m tests.kernels.cuda_compiler run 80 float32

The first prints the registers per thread and the bytes that did not fit into them, as counted by the assembler in
Triton's wheel, and the instructions of the kernel's longest loop (inner loops counted once). The second runs the
compiled code on the CPU and compares it with the naive scan in float64. Each needs a process of its own, because it
replaces Triton's driver.
"""

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import triton
from torch import Tensor
from triton.backends.compiler import GPUTarget
from triton.runtime import driver
from triton.runtime.jit import JITFunction

from retrieval_gap.kernels.selective_scan import ScanInputs, naive, triton_plan
from retrieval_gap.kernels.selective_scan import triton as triton_scan
from tests.kernels.oracles import Outputs, assert_close, values_and_gradients
from tests.kernels.ptx import Program
from tests.kernels.test_selective_scan import NAMES, inputs

TOOLS = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"
ROWS = (0, 1, 3, 4, 6)  # x, delta, B, C, z: the inputs in half precision
MANY = 1000  # processors: so many that sequences are cut into segments
TOLD = {
    "registers": r"Used (\d+) registers",
    "bytes stored": r"(\d+) bytes spill stores",
    "bytes loaded": r"(\d+) bytes spill loads",
}
# For each type the sizes (batch, length, channels, states), and the tolerance relative to the largest entry.
SIZES: dict[str, tuple[list[tuple[int, int, int, int]], float]] = {
    "float32": ([(1, 1, 5, 16), (2, 9, 35, 16), (1, 16, 3, 16), (1, 5, 3, 5), (1, 5, 3, 256)], 1e-5),
    "bfloat16": ([(1, 19, 33, 16)], 1e-2),
    "float16": ([(1, 10, 3, 16), (1, 16, 3, 4)], 2e-3),
}
Launch = Callable[[Any, list[Tensor | int], int], None]


class _NoDevice:
    """A stand-in for the driver: it answers what a launch asks before it compiles."""

    def __init__(self, capability: int) -> None:
        self.target = GPUTarget("cuda", capability, 32)

    def get_current_device(self) -> int:
        return self.target.arch

    def get_current_stream(self, device: int) -> int:
        return 0

    def get_current_target(self) -> GPUTarget:
        return self.target


@contextmanager
def launches(capability: int, launch: Launch, processors: int) -> Iterator[None]:
    """Compiles kernels for this capability and hands them to `launch`, with their arguments and number of programs."""
    run, found = JITFunction.run, triton_scan._processors

    def compile_and_launch(self: Any, *, grid: tuple[int], warmup: bool, **given: Any) -> None:
        kernel = run(self, grid=grid, warmup=True, **given)
        signature = kernel.src.signature
        launch(kernel, [value for name in signature for value in _flat(given[name], signature[name])], grid[0])

    driver.set_active(_NoDevice(capability))
    JITFunction.run, triton_scan._processors = compile_and_launch, lambda device: processors
    try:
        yield
    finally:
        JITFunction.run, triton_scan._processors = run, found


def _flat(value: Any, kind: Any) -> Iterator[Any]:
    """The arguments that remain at run time: tuples are flattened, and constants are compiled in."""
    if isinstance(kind, tuple):
        for part, of_part in zip(value, kind, strict=True):
            yield from _flat(part, of_part)
    elif kind != "constexpr":
        yield value


def registers(capability: int) -> Iterator[dict[str, Any]]:
    """A row per kernel of scans with and without half precision and an incomplete strip, with few and many states."""
    plain, half = torch.float32, torch.bfloat16
    for length, states, dtype in (
        *((256, 16, plain), (256, 16, half), (255, 16, plain), (255, 16, half)),
        *((256, 5, plain), (256, 256, plain)),
    ):
        kernels: dict[str, Any] = {}
        arguments = [t.to(dtype) if i in ROWS else t for i, t in enumerate(inputs(2, length, 128, states))]
        leaves = [t.requires_grad_() for t in arguments]
        with launches(capability, lambda kernel, *_, seen=kernels: seen.update({kernel.hash: kernel}), MANY):
            y, state = triton_scan.selective_scan(ScanInputs(*leaves))
            torch.autograd.grad(y.sum() + state.sum(), leaves)
        for kernel in kernels.values():
            row = {"sm": capability, "length": length, "states": states, "dtype": str(dtype).removeprefix("torch.")}
            yield (
                row
                | {"kernel": kernel.name}
                | _usage(kernel.asm["ptx"])
                | {"instructions": _longest_loop(kernel.asm["cubin"])}
            )


def _usage(ptx: str) -> dict[str, int]:
    target = re.findall(r"\.target (\w+)", ptx)[0]
    told = _run_tool("ptxas", ["-v", f"--gpu-name={target}", "-o", "/dev/null"], ptx.encode()).stderr
    return {name: int(re.findall(pattern, told)[0]) for name, pattern in TOLD.items()}


def _longest_loop(cubin: bytes) -> int:
    """The most instructions from a label to the last jump back to it."""
    labels: dict[str, int] = {}
    longest = count = 0
    for line in _run_tool("nvdisasm", ["-c"], cubin).stdout.splitlines():
        if label := re.match(r"(\.L_\w+):", line):
            labels[label[1]] = count
        elif re.match(r"\s*/\*[0-9a-f]{4,}\*/", line):
            count += 1
            if (jump := re.search(r"\bBRA\b.*?(\.L_\w+)", line)) and jump[1] in labels:
                longest = max(longest, count - labels[jump[1]])
    return longest


def _run_tool(name: str, options: list[str], content: bytes) -> subprocess.CompletedProcess[str]:
    """The result of a tool of Triton's wheel, run on a file with this content."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        return subprocess.run([str(TOOLS / name), *options, file.name], capture_output=True, text=True, check=True)


def run_compiled(capability: int, dtype: str) -> None:
    """Compares values and all gradients of the compiled scan, run on the CPU in one piece and in segments."""
    programs: dict[str, Program] = {}

    def launch(kernel: Any, arguments: list[Tensor | int], blocks: int) -> None:
        programs.setdefault(kernel.hash, Program(kernel.asm["ptx"])).run(arguments, blocks)

    torch.use_deterministic_algorithms(True)  # fills fresh memory with NaN
    triton_plan.SHORTEST_SEGMENT = 8
    sizes, tolerance = SIZES[dtype]
    for size in sizes:
        for processors in (0, MANY) if size[1] > triton_plan.CHUNK else (0,):
            with launches(capability, launch, processors):
                _compare(size, getattr(torch, dtype), tolerance)
            print(f"sm_{capability}, {size} in {dtype}, {'in segments' if processors else 'in one piece'}: equal")


def _compare(size: tuple[int, int, int, int], dtype: torch.dtype, tolerance: float) -> None:
    arguments = [t.to(dtype).float() if i in ROWS else t for i, t in enumerate(inputs(*size))]

    def in_that_type(*given: Tensor) -> Outputs:
        """B and C are slices of one projection, as in Mamba."""
        x, delta, A, B, C, D, z, bias, state = (t.to(dtype) if i in ROWS else t for i, t in enumerate(given))
        _, B, C = torch.cat([B[..., :4], B, C], 2).split([B[..., :4].shape[2], B.shape[2], C.shape[2]], 2)
        return triton_scan.selective_scan(ScanInputs(x, delta, A, B, C, D, z, bias, state))

    ours = values_and_gradients(in_that_type, arguments, torch.float32)
    exact = values_and_gradients(lambda *given: naive.selective_scan(ScanInputs(*given)), arguments, torch.float64)
    assert_close(ours, exact, NAMES, tolerance)


if __name__ == "__main__":
    if sys.argv[1] == "run":
        run_compiled(int(sys.argv[2]), sys.argv[3])
    else:
        for chosen in sys.argv[2:]:
            for printed in registers(int(chosen)):
                print(json.dumps(printed), flush=True)
