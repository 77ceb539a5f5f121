"""The compiled convolution gives the values and all gradients of PyTorch's in float64, at awkward sizes."""

import pytest
import torch
from torch import Tensor

from retrieval_gap.kernels.causal_conv1d import causal_conv1d, causal_conv1d_step
from tests.kernels.oracles import Outputs, assert_close, assert_same_bits, values_and_gradients

NAMES = ["y", "final state", "x", "weight", "bias", "initial state"]


def inputs(batch: int, length: int, channels: int, width: int = 4) -> list[Tensor]:
    generator = torch.Generator().manual_seed(length)
    shapes = ((batch, length, channels), (channels, width), (channels,), (batch, width - 1, channels))
    return [torch.randn(shape, generator=generator) for shape in shapes]


def results(backend: str, arguments: list[Tensor | None]) -> Outputs:
    def convolve(x: Tensor, weight: Tensor, bias: Tensor, state: Tensor | None) -> Outputs:
        return causal_conv1d(x, weight, bias, initial_state_BxKxD=state, backend=backend)

    return values_and_gradients(convolve, arguments, torch.float64 if backend == "naive" else torch.float32)


@pytest.mark.parametrize("length", [1, 2, 3, 4, 31, 32, 33, 100])
@pytest.mark.parametrize(("batch", "channels"), [(3, 16), (2, 144)])
def test_values_and_gradients_are_those_of_float64(batch: int, channels: int, length: int) -> None:
    arguments = inputs(batch, length, channels)
    assert_close(results("cpu", arguments), results("naive", arguments), NAMES)
    stateless = [*arguments[:3], None]
    assert_close(results("cpu", stateless), results("naive", stateless), NAMES[:-1])


def test_naive_is_the_definition() -> None:
    x, weight, bias, state = (t.double() for t in inputs(1, 5, 2))
    y, last = causal_conv1d(x, weight, bias, initial_state_BxKxD=state, backend="naive")
    seen = torch.cat([state[0, :, 1], x[0, :, 1]])
    by_hand = [bias[1] + sum(weight[1, k] * seen[t + k] for k in range(4)) for t in range(5)]
    torch.testing.assert_close(y[0, :, 1], torch.nn.functional.silu(torch.stack(by_hand)))
    assert torch.equal(last[0, :, 1], seen[-3:])


@pytest.mark.parametrize("backend", ["cpu", "naive"])
def test_steps_and_parts_equal_the_whole(backend: str) -> None:
    x, weight, bias, state = inputs(3, 9, 32)
    whole, whole_state = causal_conv1d(x, weight, bias, initial_state_BxKxD=state, backend=backend)
    first, carried = causal_conv1d(x[:, :5], weight, bias, initial_state_BxKxD=state, backend=backend)
    parts = [*first.unbind(1)]
    for t in range(5, 9):
        y, carried = causal_conv1d_step(x[:, t], weight, bias, carried)
        parts.append(y)
    torch.testing.assert_close(torch.stack(parts, 1), whole, rtol=1e-5, atol=1e-6)
    assert torch.equal(carried, whole_state)


@pytest.mark.parametrize("shape", [(9, 200, 144), (3, 33, 16)])
def test_same_bits_with_any_number_of_threads_and_poisoned_memory(shape: tuple[int, int, int]) -> None:
    arguments = inputs(*shape)
    assert_same_bits(lambda: results("cpu", arguments))


def test_half_of_a_wider_tensor_gives_the_same_values() -> None:
    x, weight, bias, _ = inputs(2, 40, 16)
    halves = torch.cat([torch.randn(2, 40, 16), x], 2)
    assert torch.equal(
        causal_conv1d(halves[..., 16:], weight, bias, backend="cpu")[0],
        causal_conv1d(x, weight, bias, backend="cpu")[0],
    )


def test_a_nan_reaches_the_four_outputs_that_see_it() -> None:
    x, weight, bias, _ = inputs(1, 12, 16)
    x[0, 6, 2] = torch.nan
    y, _ = causal_conv1d(x, weight, bias, backend="cpu")
    assert y.isnan().nonzero().tolist() == [[0, t, 2] for t in range(6, 10)]


def test_other_widths_run_in_pytorch() -> None:
    x, weight, bias, state = inputs(2, 9, 5, width=3)
    causal_conv1d(x, weight, bias, initial_state_BxKxD=state)
    with pytest.raises(RuntimeError, match="it is made for filters of width 4, not 3"):
        causal_conv1d(x, weight, bias, backend="cpu")
    with pytest.raises(RuntimeError, match="channels of a multiple of 16, not 5"):
        causal_conv1d(*inputs(2, 9, 5)[:3], backend="cpu")


def test_without_silu_only_the_filter_is_applied() -> None:
    x, weight, bias, state = inputs(2, 9, 16)
    plain, _ = causal_conv1d(x, weight, bias, initial_state_BxKxD=state, with_silu=False)
    gated, _ = causal_conv1d(x, weight, bias, initial_state_BxKxD=state, backend="cpu")
    torch.testing.assert_close(torch.nn.functional.silu(plain), gated, rtol=1e-5, atol=1e-6)
    step, _ = causal_conv1d_step(x[:, 0], weight, bias, state, with_silu=False)
    torch.testing.assert_close(step, plain[:, 0], rtol=1e-5, atol=1e-6)
