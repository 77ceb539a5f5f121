"""The compiled convolution gives the values and all gradients of PyTorch's in float64, at awkward sizes."""

import pytest
import torch
from torch import Tensor

from retrieval_gap.kernels.causal_conv1d import causal_conv1d, causal_conv1d_step
from tests.kernels.oracles import Outputs, assert_close, values_and_gradients

NAMES = ["y", "final state", "x", "weight", "bias", "initial state"]


def inputs(batch: int, length: int, channels: int, width: int = 4) -> list[Tensor]:
    generator = torch.Generator().manual_seed(length)
    shapes = ((batch, length, channels), (channels, width), (channels,), (batch, channels, width - 1))
    return [torch.randn(shape, generator=generator) for shape in shapes]


def results(backend: str, arguments: list[Tensor | None], activation: str | None = "silu") -> Outputs:
    def convolve(x: Tensor, weight: Tensor, bias: Tensor, state: Tensor | None) -> Outputs:
        return causal_conv1d(x, weight, bias, initial_state_BxDxK=state, activation=activation, backend=backend)

    return values_and_gradients(convolve, arguments, torch.float64 if backend == "naive" else torch.float32)


@pytest.mark.parametrize("activation", ["silu", None])
@pytest.mark.parametrize("length", [1, 2, 3, 4, 31, 32, 33, 100])
@pytest.mark.parametrize(("batch", "channels"), [(3, 7), (2, 130)])
def test_values_and_gradients_are_those_of_float64(
    batch: int, channels: int, length: int, activation: str | None
) -> None:
    arguments = inputs(batch, length, channels)
    assert_close(results("cpu", arguments, activation), results("naive", arguments, activation), NAMES)
    stateless = [*arguments[:3], None]
    assert_close(results("cpu", stateless, activation), results("naive", stateless, activation), NAMES[:-1])


def test_naive_is_the_definition() -> None:
    x, weight, bias, state = (t.double() for t in inputs(1, 5, 2))
    y, last = causal_conv1d(x, weight, bias, initial_state_BxDxK=state, activation=None, backend="naive")
    seen = torch.cat([state[0, 1], x[0, :, 1]])
    by_hand = [bias[1] + sum(weight[1, k] * seen[t + k] for k in range(4)) for t in range(5)]
    torch.testing.assert_close(y[0, :, 1], torch.stack(by_hand))
    assert torch.equal(last[0, 1], seen[-3:])


@pytest.mark.parametrize("backend", ["cpu", "naive"])
def test_steps_and_parts_equal_the_whole(backend: str) -> None:
    x, weight, bias, state = inputs(3, 9, 33)
    whole, whole_state = causal_conv1d(x, weight, bias, initial_state_BxDxK=state, backend=backend)
    first, carried = causal_conv1d(x[:, :5], weight, bias, initial_state_BxDxK=state, backend=backend)
    parts = [*first.unbind(1)]
    for t in range(5, 9):
        y, carried = causal_conv1d_step(x[:, t], weight, bias, carried, backend=backend)
        parts.append(y)
    torch.testing.assert_close(torch.stack(parts, 1), whole, rtol=1e-5, atol=1e-6)
    assert torch.equal(carried, whole_state)


@pytest.mark.parametrize("activation", ["silu", None])
@pytest.mark.parametrize(("batch", "channels"), [(3, 7), (600, 130), (5, 48)])
def test_a_compiled_step_is_the_definition(batch: int, channels: int, activation: str | None) -> None:
    x, weight, bias, state = inputs(batch, 1, channels)
    before, runs = torch.get_num_threads(), []
    exact = causal_conv1d_step(*(t.double() for t in (x[:, 0], weight, bias, state)), activation=activation)
    try:
        for threads, poisoned in ((1, False), (2, True)):
            torch.set_num_threads(threads)
            torch.use_deterministic_algorithms(poisoned)  # which fills fresh memory with NaN
            runs.append(causal_conv1d_step(x[:, 0], weight, bias, state, activation=activation, backend="cpu"))
    finally:
        torch.set_num_threads(before)
        torch.use_deterministic_algorithms(False)
    for mine, again, oracle in zip(*runs, exact, strict=True):
        assert torch.equal(mine, again)
        torch.testing.assert_close(mine.double(), oracle, rtol=1e-5, atol=1e-5)


def test_a_step_whose_state_is_of_another_batch_is_refused() -> None:
    x, weight, bias, state = inputs(4, 1, 16)
    with pytest.raises(ValueError, match=r"the state must be \(4, 16, 3\)"):
        causal_conv1d_step(x[:, 0], weight, bias, state[:3])


def test_same_bits_with_any_number_of_threads() -> None:
    arguments, threads, runs = inputs(9, 200, 130), torch.get_num_threads(), []
    for count in (1, 2, 3):
        torch.set_num_threads(count)
        runs.append(results("cpu", arguments))
    torch.set_num_threads(threads)
    for again in runs[1:]:
        assert all(torch.equal(a, b) for a, b in zip(runs[0], again, strict=True))


def test_half_of_a_wider_tensor_is_read_in_place() -> None:
    x, weight, bias, _ = inputs(2, 40, 24)
    halves = torch.cat([torch.randn(2, 40, 24), x], 2)
    assert torch.equal(
        causal_conv1d(halves[..., 24:], weight, bias, backend="cpu")[0],
        causal_conv1d(x, weight, bias, backend="cpu")[0],
    )


def test_no_uninitialised_memory_is_used() -> None:
    torch.use_deterministic_algorithms(True)
    outcome = results("cpu", inputs(3, 33, 19))
    torch.use_deterministic_algorithms(False)
    assert all(t.isfinite().all() for t in outcome)


def test_a_nan_reaches_the_four_outputs_that_see_it() -> None:
    x, weight, bias, _ = inputs(1, 12, 5)
    x[0, 6, 2] = torch.nan
    y, _ = causal_conv1d(x, weight, bias, backend="cpu")
    assert y.isnan().nonzero().tolist() == [[0, t, 2] for t in range(6, 10)]


def test_other_widths_run_in_pytorch() -> None:
    x, weight, bias, state = inputs(2, 9, 5, width=3)
    causal_conv1d(x, weight, bias, initial_state_BxDxK=state)
    with pytest.raises(RuntimeError, match="it is made for filters of width 4, not 3"):
        causal_conv1d(x, weight, bias, backend="cpu")
    with pytest.raises(ValueError, match="unknown activation 'relu'"):
        causal_conv1d(x, weight, bias, activation="relu")
