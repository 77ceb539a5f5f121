"""RMSNorm and SwiGLU give PyTorch's values and gradients, at awkward sizes."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from retrieval_gap.kernels.fused import rms_norm, swiglu
from tests.kernels.oracles import Outputs, assert_close, values_and_gradients

SHAPES = [(1, 2), (3, 5), (2, 3, 7), (65, 16), (5, 129), (200, 64)]


def inputs(function: Callable[..., Tensor], shape: tuple[int, ...]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(shape[0])
    if function is swiglu:
        return [torch.randn(*shape[:-1], 2 * shape[-1], generator=generator)]
    return [torch.randn(shape, generator=generator), torch.randn(shape[-1], generator=generator)]


def results(function: Callable[..., Tensor], backend: str, arguments: list[Tensor]) -> Outputs:
    dtype = torch.float64 if backend == "naive" else torch.float32
    return values_and_gradients(lambda *given: (function(*given, backend=backend),), arguments, dtype)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("function", [rms_norm, swiglu])
def test_values_and_gradients_are_those_of_float64(function: Callable[..., Tensor], shape: tuple[int, ...]) -> None:
    arguments = inputs(function, shape)
    names = ["y", "x", "weight"][: 1 + len(arguments)]
    assert_close(results(function, "cpu", arguments), results(function, "naive", arguments), names)


@pytest.mark.parametrize("function", [rms_norm, swiglu])
def test_same_bits_with_any_number_of_threads_and_poisoned_memory(function: Callable[..., Tensor]) -> None:
    arguments, threads = inputs(function, (9000, 130)), torch.get_num_threads()
    torch.set_num_threads(1)
    alone = results(function, "cpu", arguments)
    torch.set_num_threads(2)
    torch.use_deterministic_algorithms(True)
    together = results(function, "cpu", arguments)
    torch.use_deterministic_algorithms(False)
    torch.set_num_threads(threads)
    assert all(torch.equal(a, b) for a, b in zip(alone, together, strict=True))


@pytest.mark.parametrize("function", [rms_norm, swiglu])
def test_a_nan_spoils_its_row_and_no_other(function: Callable[..., Tensor]) -> None:
    arguments = inputs(function, (4, 33))
    arguments[0][2, 3] = torch.nan
    y = function(*arguments, backend="cpu")
    assert y[2].isnan().any()
    assert y[[0, 1, 3]].isfinite().all()


def test_strided_rows_are_accepted() -> None:
    wide = torch.randn(6, 9, 40)
    torch.testing.assert_close(
        rms_norm(wide[..., :20], torch.ones(20), backend="cpu"),
        rms_norm(wide[..., :20], torch.ones(20), backend="naive"),
    )


def test_an_odd_width_has_no_halves() -> None:
    with pytest.raises(ValueError, match="halves the last axis, and 5 is odd"):
        swiglu(torch.randn(3, 5))
