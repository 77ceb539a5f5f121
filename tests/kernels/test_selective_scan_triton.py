"""The Triton scan gives the values and all gradients of the naive one in float64, at awkward sizes.

Compiled where there is a GPU, else in Triton's interpreter. `make gpu-check` runs this file.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from retrieval_gap.kernels.dispatch import describe
from retrieval_gap.kernels.selective_scan import (
    ScanInputs,
    backends,
    selective_scan,
    selective_scan_step,
    triton_plan,
)
from tests.kernels.oracles import Outputs, assert_close, values_and_gradients
from tests.kernels.test_selective_scan import NAMES, inputs, scan

triton_scan: Any = pytest.importorskip("retrieval_gap.kernels.selective_scan.triton", reason="triton is not installed")

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
ROWS = (0, 1, 3, 4, 6)  # the inputs with a time axis: x, delta, B, C, z
Segments = Callable[[int], int]


def on_a_gpu(*sizes: Any) -> tuple[Any, ...]:
    """These sizes on a GPU, else none: in the interpreter they take minutes."""
    return sizes if DEVICE == "cuda" else ()


def on_device(arguments: list[Tensor | None]) -> list[Tensor | None]:
    return [None if t is None else t.to(DEVICE) for t in arguments]


def results(arguments: list[Tensor | None]) -> Outputs:
    return values_and_gradients(lambda *given: scan("triton", *given), on_device(arguments), torch.float32)


def wanted(arguments: list[Tensor | None]) -> Outputs:
    return values_and_gradients(lambda *given: scan("naive", *given), arguments, torch.float64)


@pytest.fixture
def segmented(monkeypatch: pytest.MonkeyPatch) -> Segments:
    """Cuts sequences into segments that run side by side; the function returned gives their number for a length."""
    monkeypatch.setattr(triton_scan, "_processors", lambda device: 1000)
    monkeypatch.setattr(triton_plan, "SHORTEST_SEGMENT", 8)
    sizes = {"batch": 1, "channels": 3, "states": 4, "processors": 1000, "unit": 1}
    return lambda length: triton_plan.ScanPlan(length=length, **sizes).segments


def test_this_machine_has_the_triton_scan() -> None:
    assert describe(backends())["triton"] == ("available" if DEVICE == "cuda" else "available by name")


@pytest.mark.parametrize(
    ("batch", "length", "channels", "states"),
    [
        *((3, 1, 5, 16), (1, 2, 33, 16), (1, 63, 1, 4), (1, 64, 7, 16)),
        *((3, 9, 35, 5), (1, 100, 17, 16), (1, 9, 3, 1), (1, 9, 3, 100), (1, 3, 2, 256)),
        *on_a_gpu((5, 65, 67, 16), (3, 257, 131, 16)),
    ],
)
def test_values_and_gradients_are_those_of_float64(batch: int, length: int, channels: int, states: int) -> None:
    arguments = inputs(batch, length, channels, states)
    assert_close(results(arguments), wanted(arguments), NAMES)


@pytest.mark.parametrize(
    ("length", "count"), [(65, 5), (257, 17), *on_a_gpu((1, 1), (2, 1), (63, 4), (64, 8), (100, 7))]
)
def test_values_and_gradients_in_segments_are_those_of_float64(length: int, count: int, segmented: Segments) -> None:
    arguments = inputs(1, length, 3, 4)
    assert segmented(length) == count
    assert_close(results(arguments), wanted(arguments), NAMES)


@pytest.mark.skipif(DEVICE == "cpu", reason="the sizes of the models take a GPU")
@pytest.mark.parametrize("size", [(64, 515, 128, 16), (7, 2535, 256, 16), (2, 5120, 512, 16), (1, 700, 33, 256)])
def test_values_and_gradients_at_the_models_sizes_are_those_of_float64(size: tuple[int, int, int, int]) -> None:
    arguments = inputs(*size)
    oracle = values_and_gradients(lambda *given: scan("naive", *given), on_device(arguments), torch.float64)
    assert_close(results(arguments), oracle, NAMES)


@pytest.mark.parametrize("without", [(6,), (7,), (8,), (6, 7, 8)], ids=["z", "bias", "state", "all three"])
@pytest.mark.parametrize("length", [5, 19])
def test_optional_inputs_may_be_left_out(without: tuple[int, ...], length: int, segmented: Segments) -> None:
    arguments = [None if i in without else t for i, t in enumerate(inputs(1, length, 3, 4))]
    names = [name for i, name in enumerate(NAMES) if i - 2 not in without]
    assert_close(results(arguments), wanted(arguments), names)


@pytest.mark.parametrize("length", [5, 19])
def test_gradients_of_the_final_state_alone_are_those_of_float64(length: int, segmented: Segments) -> None:
    def state_only(backend: str, arguments: list[Tensor | None], dtype: torch.dtype) -> Outputs:
        def run(*given: Tensor | None) -> Outputs:
            y, state = scan(backend, *given)
            return 0 * y, state

        return values_and_gradients(run, arguments, dtype)

    arguments = inputs(1, length, 5, 4)
    ours = state_only("triton", on_device(arguments), torch.float32)
    assert_close(ours, state_only("naive", arguments, torch.float64), NAMES)


def test_an_unused_output_needs_no_gradient() -> None:
    leaves = [t.requires_grad_() for t in on_device(inputs(1, 5, 3, 4))]
    (of_state,) = torch.autograd.grad(scan("triton", *leaves)[1].sum(), leaves[0])
    y, state = scan("triton", *leaves)
    (of_zero,) = torch.autograd.grad((0 * y).sum() + state.sum(), leaves[0])
    assert torch.equal(of_state, of_zero)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.bfloat16, 1e-2), (torch.float16, 2e-3)])
def test_half_precision_rounds_only_inputs_and_outputs(dtype: torch.dtype, tolerance: float) -> None:
    def halved(arguments: tuple[Tensor | None, ...]) -> list[Tensor | None]:
        return [t.to(dtype) if i in ROWS else t for i, t in enumerate(arguments)]

    arguments = [t.float() for t in halved(tuple(inputs(1, 13, 5, 16)))]
    ours = values_and_gradients(lambda *given: scan("triton", *halved(given)), on_device(arguments), torch.float32)
    y, state = scan("triton", *on_device(halved(tuple(arguments))))
    assert (y.dtype, state.dtype) == (dtype, torch.float32)
    oracle = wanted(arguments)
    assert_close(ours, oracle, NAMES, tolerance)
    assert_close(ours[1:2], oracle[1:2], NAMES[1:2])


def test_two_calls_with_carried_state_equal_one() -> None:
    arguments = on_device(inputs(2, 12, 5, 4))
    whole_y, whole_state = scan("triton", *arguments)
    first = [t[:, :7] if i in ROWS else t for i, t in enumerate(arguments)]
    second = [t[:, 7:] if i in ROWS else t for i, t in enumerate(arguments)]
    first_y, state = scan("triton", *first)
    second_y, state = scan("triton", *second[:8], state)
    torch.testing.assert_close(torch.cat([first_y, second_y], 1), whole_y, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(state, whole_state, rtol=1e-6, atol=1e-6)


def test_a_step_is_a_scan_of_one_and_has_gradients() -> None:
    arguments = on_device(inputs(3, 1, 5, 16))
    flat = [t[:, 0] if i in ROWS else t for i, t in enumerate(arguments)]
    before = flat[8].clone()
    step_y, step_state = selective_scan_step(ScanInputs(*flat), backend="triton")
    y, state = scan("triton", *arguments)
    assert torch.equal(step_y, y[:, 0])
    assert torch.equal(step_state, state)
    assert torch.equal(flat[8], before)
    leaves = [t.requires_grad_() for t in flat]
    given = ScanInputs(*leaves)
    (step_y, _), (oracle_y, _) = (selective_scan_step(given, backend=name) for name in ("triton", "naive"))
    for ours, theirs in zip(*(torch.autograd.grad(y.sum(), leaves) for y in (step_y, oracle_y)), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_slices_of_fused_projections_give_the_same_values() -> None:
    """x and z are halves of one projection, B and C columns of another, as in Mamba; time may come first."""
    x, delta, A, B, C, D, z, bias, state = on_device(inputs(2, 9, 6, 4))
    xz, dt_B_C = torch.cat([x, z], 2), torch.cat([delta, B, C], 2)
    _, sliced_B, sliced_C = dt_B_C.split([6, 4, 4], 2)
    sliced = [xz[..., :6], delta, A, sliced_B, sliced_C, D, xz[..., 6:], bias, state]
    time_first = [t.transpose(0, 1).contiguous().transpose(0, 1) if i in ROWS else t for i, t in enumerate(sliced)]
    oracle = results([x, delta, A, B, C, D, z, bias, state])
    for arguments in (sliced, time_first):
        leaves = [t.detach().requires_grad_() for t in arguments]
        y, final = scan("triton", *leaves)
        assert torch.equal(y.cpu(), oracle[0])
        assert torch.equal(final.cpu(), oracle[1])
        (grad_x,) = torch.autograd.grad(y.transpose(0, 2).sum(), leaves[0])  # a gradient with strides of 0
        torch.testing.assert_close(grad_x, torch.autograd.grad(scan("naive", *leaves)[0].sum(), leaves[0])[0])


@pytest.mark.usefixtures("poisoned_memory")
@pytest.mark.parametrize("size", [(2, 5, 5, 5), (1, 19, 3, 16)])
def test_no_uninitialised_memory_is_used(size: tuple[int, int, int, int], segmented: Segments) -> None:
    assert torch.empty(3, device=DEVICE).isnan().all()
    for result in results(inputs(*size)):
        assert result.isfinite().all()


@pytest.mark.parametrize("size", [(3, 5, 35, 4), (1, 19, 3, 4)])
def test_two_runs_give_equal_bits(size: tuple[int, int, int, int], segmented: Segments) -> None:
    arguments = inputs(*size)
    for name, first, second in zip(NAMES, results(arguments), results(arguments), strict=True):
        assert torch.equal(first, second), name


@pytest.mark.parametrize("which", range(9), ids=NAMES[2:])
def test_nan_in_gives_nan_out(which: int) -> None:
    arguments = inputs(2, 6, 3, 4)
    arguments[which] = arguments[which].clone()
    arguments[which].view(-1)[0] = torch.nan
    for ours, theirs in zip(scan("triton", *on_device(arguments)), scan("naive", *arguments), strict=True):
        assert torch.equal(ours.isnan().cpu(), theirs.isnan())


def test_extreme_steps_and_gates_give_the_results_of_float64() -> None:
    x, delta, A, B, C, D, z, bias, state = inputs(1, 6, 3, 4)
    delta[0, :, 0] = torch.tensor([-1e4, -90, -20, 20, 90, 1e4])
    z[0, :, 0] = torch.tensor([-1e4, -100, -1, 1, 100, 1e4])
    arguments = [x, delta, A, B, C, D, z, bias, state]
    assert_close(results(arguments), wanted(arguments), NAMES)


def test_empty_sequences_leave_the_state_alone() -> None:
    arguments = [t[:, :0] if i in ROWS else t for i, t in enumerate(on_device(inputs(2, 1, 7, 5)))]
    leaves = [t.requires_grad_() for t in arguments]
    y, state = scan("triton", *leaves)
    assert y.shape == (2, 0, 7)
    assert torch.equal(state, leaves[8])
    (grad_state, grad_A) = torch.autograd.grad(state.sum(), (leaves[8], leaves[2]))
    assert (grad_state == 1).all()
    assert (grad_A == 0).all()


def test_inputs_that_the_kernel_cannot_take_are_named() -> None:
    x, delta, A, B, C, D, *_ = on_device(inputs(2, 3, 4, 5))
    for arguments, reason in (
        ([x.double(), delta, A, B, C, D], "it takes float32, bfloat16, float16, and a tensor is float64"),
        ([x, delta, A, *on_device(inputs(2, 3, 4, 257)[3:5]), D], "at most 256 states a channel in registers, not 257"),
        ([x.mT.contiguous().mT, delta, A, B, C, D], r"one of shape \(2, 3, 4\) has strides \(12, 1, 3\)"),
        ([x[:0], delta[:0], A, B[:0], C[:0], D], r"x of shape \(0, 3, 4\) with 5 states has nothing to scan"),
    ):
        if "257" in reason:
            arguments[2] = on_device(inputs(2, 3, 4, 257))[2]
        with pytest.raises(RuntimeError, match=reason):
            selective_scan(ScanInputs(*arguments), backend="triton")


@pytest.mark.parametrize(
    ("capability", "dtype"),
    [
        ("80", "float16"),
        *(pytest.param(*other, marks=pytest.mark.slow) for other in (("80", "float32"), ("90", "bfloat16"))),
        pytest.param("90", "float32", marks=pytest.mark.slow),
    ],
)
def test_code_compiled_for_a_gpu_gives_the_same_results(capability: str, dtype: str) -> None:
    """Needs no GPU: the compiled code runs on the CPU. The compiler refuses some code that the interpreter takes."""
    compiled = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    command = [sys.executable, "-m", "tests.kernels.cuda_compiler", "run", capability, dtype]
    told = subprocess.run(command, env=compiled, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    assert "in segments: equal" in told.stdout
