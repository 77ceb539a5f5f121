"""RMSNorm gives PyTorch's values and gradients, at awkward sizes."""

import pytest
import torch
from torch import Tensor

from retrieval_gap.kernels.rms_norm import rms_norm
from tests.kernels.oracles import Outputs, assert_close, assert_same_bits, values_and_gradients

SHAPES = [(1, 16), (3, 32), (2, 3, 48), (65, 16), (5, 144), (200, 64)]


def inputs(shape: tuple[int, ...]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(shape[0])
    return [torch.randn(shape, generator=generator), torch.randn(shape[-1], generator=generator)]


def results(backend: str, arguments: list[Tensor]) -> Outputs:
    dtype = torch.float64 if backend == "naive" else torch.float32
    return values_and_gradients(lambda *given: (rms_norm(*given, backend=backend),), arguments, dtype)


@pytest.mark.parametrize("shape", SHAPES)
def test_values_and_gradients_are_those_of_float64(shape: tuple[int, ...]) -> None:
    arguments = inputs(shape)
    assert_close(results("cpu", arguments), results("naive", arguments), ["y", "x", "weight"])


def test_same_bits_with_any_number_of_threads_and_poisoned_memory() -> None:
    arguments = inputs((9000, 128))
    assert_same_bits(lambda: results("cpu", arguments))


def test_a_nan_spoils_its_row_and_no_other() -> None:
    arguments = inputs((4, 32))
    arguments[0][2, 3] = torch.nan
    y = rms_norm(*arguments, backend="cpu")
    assert y[2].isnan().all()
    assert y[[0, 1, 3]].isfinite().all()


def test_strided_rows_are_accepted() -> None:
    wide, gain = torch.randn(6, 9, 40)[..., :32], torch.ones(32)
    torch.testing.assert_close(rms_norm(wide, gain, backend="cpu"), rms_norm(wide, gain, backend="naive"))


def test_other_widths_run_in_pytorch() -> None:
    arguments = inputs((2000, 33))
    assert torch.equal(rms_norm(*arguments), rms_norm(*arguments, backend="naive"))
    with pytest.raises(RuntimeError, match="a multiple of 16, not 33"):
        rms_norm(*arguments, backend="cpu")
