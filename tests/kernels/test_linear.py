"""A linear layer gives the values and gradients of float64, whichever library makes its products."""

import pytest
import torch
from torch import Tensor

from retrieval_gap.kernels.linear import available_backends, linear, onednn
from tests.kernels.oracles import assert_close, values_and_gradients

here = pytest.mark.skipif(
    not hasattr(torch.ops.mkldnn, "_linear_pointwise"), reason="this PyTorch has no linear layer of oneDNN"
)


@here
@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 4, 128), (7, 128, 36), (65, 64, 256), (2, 33, 16, 5), (16, 8)])
def test_values_and_gradients_are_those_of_float64(shape: tuple[int, ...]) -> None:
    *rows, inputs, outputs = shape
    generator = torch.Generator().manual_seed(outputs)
    arguments = [torch.randn(*rows, inputs, generator=generator), torch.randn(outputs, inputs, generator=generator)]
    oracle = values_and_gradients(lambda x, w: (linear(x, w, backend="naive"),), arguments, torch.float64)
    ours = values_and_gradients(lambda x, w: (onednn.linear(x, w),), arguments, torch.float32)
    assert_close(ours, oracle, ["y", "x", "weight"], tolerance=1e-5)


@here
def test_half_of_a_wider_tensor_is_read_as_it_lies() -> None:
    wide, weight = torch.randn(20, 64), torch.randn(48, 32)
    assert torch.equal(onednn.linear(wide[:, 32:], weight), onednn.linear(wide[:, 32:].contiguous(), weight))


def test_other_types_and_small_layers_run_in_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(x: Tensor, weight: Tensor) -> Tensor:
        raise AssertionError("not to be called")

    monkeypatch.setattr(onednn, "linear", refuse)
    small = torch.randn(2, 8), torch.randn(4, 8)
    torch.testing.assert_close(linear(*small), small[0] @ small[1].T)
    with torch.backends.mkldnn.flags(enabled=False, allow_tf32=None):
        plain = torch.randn(512, 64), torch.randn(64, 64)
        torch.testing.assert_close(linear(*plain), plain[0] @ plain[1].T)
    large = torch.randn(512, 64).double(), torch.randn(64, 64).double()
    torch.testing.assert_close(linear(*large), large[0] @ large[1].T)


def test_a_machine_without_it_is_told_why() -> None:
    assert set(available_backends()) == {"onednn", "naive"}
    if (reason := available_backends()["onednn"]) != "available":
        with pytest.raises(RuntimeError, match=reason):
            linear(torch.randn(2, 8), torch.randn(4, 8), backend="onednn")
