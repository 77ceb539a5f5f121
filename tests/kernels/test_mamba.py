"""One kernel for a residual Mamba layer gives the values and gradients of the operations that it fuses."""

import pytest
import torch
from torch import Tensor

from retrieval_gap.kernels.mamba import (
    MambaWeights,
    residual_mamba,
    residual_mamba_step,
    why_not_fused,
)
from retrieval_gap.kernels.selective_scan import use_backend
from retrieval_gap.models.mamba import MambaMixer
from retrieval_gap.models.mixer import Residual
from tests.kernels.oracles import Outputs, assert_close, assert_same_bits, values_and_gradients

NAMES = ["y", "x", *MambaWeights._fields]
# (batch, length, width, states, rank): shorter than the filter, around a chunk of the scan, more sequences than items.
SHAPES = [(1, 1, 16, 16, 1), (3, 2, 32, 16, 2), (2, 16, 16, 32, 17), (2, 37, 48, 16, 3), (19, 33, 16, 16, 1)]


def inputs(batch: int, length: int, width: int, states: int, rank: int) -> list[Tensor]:
    """x, then the weights."""
    generator, inner = torch.Generator().manual_seed(length), 2 * width

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator) / shape[-1] ** 0.5

    x, A = 2 * normal(batch, length, width), -8 * torch.rand(inner, states, generator=generator) - 0.5
    conv, x_proj = (normal(inner, 4), normal(inner)), normal(rank + 2 * states, inner)
    deltas = (x_proj, normal(inner, rank), normal(inner) - 2)
    return [x, 1 + normal(width), normal(2 * inner, width), *conv, *deltas, A, normal(inner), normal(width, inner)]


def layer(backend: str, x: Tensor, *weights: Tensor) -> Outputs:
    return (residual_mamba(x, MambaWeights(*weights), backend=backend)[0],)


def results(backend: str, arguments: list[Tensor]) -> Outputs:
    dtype = torch.float64 if backend == "naive" else torch.float32
    return values_and_gradients(lambda *given: layer(backend, *given), arguments, dtype)


@pytest.mark.parametrize("shape", SHAPES)
def test_values_and_gradients_are_those_of_float64(shape: tuple[int, int, int, int, int]) -> None:
    arguments = inputs(*shape)
    assert_close(results("cpu", arguments), results("naive", arguments), NAMES, tolerance=2e-5)


def test_same_bits_with_any_number_of_threads_and_poisoned_memory() -> None:
    arguments = inputs(20, 101, 32, 16, 2)
    assert_same_bits(lambda: results("cpu", arguments))


def states(batch: int, weights: MambaWeights) -> tuple[Tensor, Tensor]:
    return torch.randn(batch, 3, len(weights.A)), torch.randn(batch, *weights.A.shape)


@pytest.mark.parametrize(("batch", "length"), [(1, 1), (3, 2), (70, 5), (5, 40)])
def test_prefill_and_steps_continue_from_a_state(batch: int, length: int) -> None:
    x, *given = inputs(batch, length + 3, 16, 16, 1)
    weights = MambaWeights(*given)
    state = states(batch, weights)
    doubles, before = MambaWeights(*(w.double() for w in given)), (state[0].double(), state[1].double())
    exact, last = residual_mamba(x.double(), doubles, state=before, backend="naive")
    for backend in ("cpu", "naive"):
        carried = (state[0].clone(), state[1].clone())
        y, carried = residual_mamba(x[:, :length], weights, state=carried, backend=backend)
        outputs = [*y.unbind(1)]
        for t in range(length, length + 3):
            y, carried = residual_mamba_step(x[:, t], weights, carried, backend=backend)
            outputs.append(y)
        torch.testing.assert_close(torch.stack(outputs, 1).double(), exact, rtol=1e-4, atol=1e-5)
        for mine, oracle in zip(carried, last, strict=True):
            torch.testing.assert_close(mine.double(), oracle, rtol=1e-4, atol=1e-5)


def test_a_step_has_the_same_bits_with_any_number_of_threads_and_poisoned_memory() -> None:
    x, *given = inputs(600, 1, 32, 16, 2)
    weights = MambaWeights(*given)
    convolved, scanned = states(600, weights)

    def step() -> Outputs:
        y, after = residual_mamba_step(x[:, 0], weights, (convolved.clone(), scanned.clone()), backend="cpu")
        return y, *after

    assert_same_bits(step)


def test_a_nan_comes_out_from_its_position_on_and_in_no_other_sequence() -> None:
    x, *weights = inputs(3, 40, 16, 16, 1)
    x[1, 17, 3] = torch.nan
    (y,) = layer("cpu", x, *weights)
    assert y[1, :17].isfinite().all()
    assert y[1, 17:].isnan().any(-1).all()
    assert y[[0, 2]].isfinite().all()


def test_sizes_that_the_kernel_refuses_are_named() -> None:
    for width, n_states, reason in ((24, 16, "not 24 and 16"), (16, 4, "not 16 and 4")):
        x, *weights = inputs(9, 40, width, n_states, 1)
        with pytest.raises(RuntimeError, match=reason):
            layer("cpu", x, *weights)
        assert reason in str(why_not_fused(x, MambaWeights(*weights)))


def test_a_state_of_another_batch_is_refused() -> None:
    x, *given = inputs(4, 6, 16, 16, 1)
    weights = MambaWeights(*given)
    window, ssm = states(4, weights)
    for wrong in ((window[:3], ssm), (window, ssm[:, :31])):
        with pytest.raises(ValueError, match=r"state has shape .*; it must be \(4, "):
            residual_mamba_step(x[:, 0], weights, wrong)
        with pytest.raises(ValueError, match=r"state has shape .*; it must be \(4, "):
            residual_mamba(x, weights, state=wrong)


def test_autograd_notices_that_a_state_was_overwritten() -> None:
    x, *given = inputs(5, 1, 16, 16, 1)
    weights = MambaWeights(*given)
    state = states(5, weights)
    factor = torch.ones((), requires_grad=True)
    later = (factor * state[1]).sum()  # needs the state as it is now
    residual_mamba_step(x[:, 0], weights, state, backend="cpu")
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        later.backward()


def test_a_layer_of_a_model_is_its_norm_its_mixer_and_the_sum() -> None:
    x, layer_ = torch.randn(4, 80, 32), Residual(32, MambaMixer(32))
    whole = layer_(x)
    torch.testing.assert_close(whole, x + layer_.mixer(layer_.norm(x)), rtol=1e-5, atol=1e-5)
    with use_backend("naive"):  # another scan is requested, so the layer runs part by part
        torch.testing.assert_close(layer_(x), whole, rtol=1e-5, atol=1e-5)
