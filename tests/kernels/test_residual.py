"""One kernel per residual layer of a LLaMA block gives the values and gradients of the operations that it fuses."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from retrieval_gap.kernels.residual import (
    AttentionWeights,
    residual_attention,
    residual_attention_step,
    residual_swiglu,
)
from retrieval_gap.models.attention import SwiGLU
from retrieval_gap.models.mixer import Residual
from tests.kernels.oracles import Outputs, assert_close, assert_same_bits, values_and_gradients

# (batch, length, heads, head width, feed-forward width); 7 x 65 rows are seven chunks of 64 and seven rows.
SHAPES = [(1, 1, 1, 16, 16), (3, 2, 2, 16, 48), (2, 63, 4, 16, 256), (7, 65, 1, 32, 80), (17, 33, 3, 16, 100)]


def rope_table(length: int, width: int) -> Tensor:
    rate = 10_000.0 ** -(torch.arange(width // 2) / (width // 2))
    angle = torch.arange(length)[:, None] * rate
    return torch.cat([angle.cos(), angle.sin()], 1)


Layer = tuple[Callable[..., Tensor], list[Tensor]]


def swiglu_layer(batch: int, length: int, heads: int, width: int, hidden: int) -> Layer:
    d_model, generator = heads * width, torch.Generator().manual_seed(length)
    shapes = [(batch, length, d_model), (d_model,), (2 * hidden, d_model), (d_model, hidden)]
    return residual_swiglu, [torch.randn(shape, generator=generator) / shape[-1] ** 0.25 for shape in shapes]


def attention_layer(batch: int, length: int, heads: int, width: int, hidden: int) -> Layer:
    d_model, generator = heads * width, torch.Generator().manual_seed(length)
    shapes = [(batch, length, d_model), (d_model,), (3 * d_model, d_model), (d_model, d_model)]
    rope_LxE = rope_table(length, width)

    def layer(x: Tensor, *weights: Tensor, backend: str = "auto") -> Tensor:
        return residual_attention(x, AttentionWeights(*weights), rope_LxE.to(x.dtype), backend=backend)

    return layer, [torch.randn(shape, generator=generator) / shape[-1] ** 0.25 for shape in shapes]


def results(layer: Layer, backend: str, dtype: torch.dtype = torch.float32) -> Outputs:
    function, arguments = layer
    return values_and_gradients(lambda *given: (function(*given, backend=backend),), arguments, dtype)


both_layers = pytest.mark.parametrize("make", [swiglu_layer, attention_layer])


@both_layers
@pytest.mark.parametrize("shape", SHAPES)
def test_values_and_gradients_are_those_of_float64(make: Callable[..., Layer], shape: tuple[int, ...]) -> None:
    layer = make(*shape)
    names = ["y", "x", "gain", "first weight", "second weight"]
    assert_close(results(layer, "cpu"), results(layer, "naive", torch.float64), names, tolerance=1e-5)


@both_layers
def test_same_bits_with_any_number_of_threads_and_poisoned_memory(make: Callable[..., Layer]) -> None:
    layer = make(20, 101, 4, 16, 96)
    assert_same_bits(lambda: results(layer, "cpu"))


@both_layers
def test_without_gradients_the_values_are_the_same(make: Callable[..., Layer]) -> None:
    function, arguments = make(3, 70, 2, 16, 32)
    with_gradients = function(*[t.clone().requires_grad_() for t in arguments], backend="cpu")
    with torch.no_grad():
        assert torch.equal(function(*arguments, backend="cpu"), with_gradients)


@both_layers
def test_rows_may_lie_apart_in_memory(make: Callable[..., Layer]) -> None:
    function, (x, *weights) = make(3, 20, 2, 16, 32)
    apart = torch.randn(3, 41, 32)[:, 1::2]
    apart.copy_(x)
    assert torch.equal(function(apart, *weights, backend="cpu"), function(x, *weights, backend="cpu"))


def test_a_nan_comes_out_from_its_position_on_and_in_no_other_sequence() -> None:
    function, arguments = attention_layer(3, 40, 2, 16, 32)
    arguments[0][1, 17, 3] = torch.nan
    y = function(*arguments, backend="cpu")
    assert y[1, 17:].isnan().any(-1).all()
    assert y[[0, 2]].isfinite().all()


@both_layers
def test_widths_that_the_kernel_refuses_run_in_pytorch(make: Callable[..., Layer]) -> None:
    layer = make(9, 101, 1, 24, 24)
    assert_close(results(layer, "auto"), results(layer, "naive"), ["y"] + ["gradient"] * 4)
    with pytest.raises(RuntimeError, match="multiple of 16, not 24"):
        results(layer, "cpu")


def test_a_layer_of_a_model_is_its_norm_its_mixer_and_the_sum() -> None:
    x = torch.randn(4, 80, 32)
    layer = Residual(32, SwiGLU(32, 48))
    torch.testing.assert_close(layer(x), x + layer.mixer(layer.norm(x)), rtol=1e-5, atol=1e-5)


def caches(batch: int, heads: int, tokens: int, width: int, room: int = 3) -> tuple[Tensor, Tensor]:
    """Caches of keys and values, as parts of larger tensors; NaN where nothing is written yet."""
    k, v = torch.full((2, batch, heads, tokens + room, width), torch.nan)
    return k[:, :, :tokens], v[:, :, :tokens]


# (batch, tokens before, heads, head width): one key, whole and partial blocks of 16, more rows than a chunk.
STEPS = [(1, 0, 1, 16), (3, 15, 2, 16), (70, 16, 4, 16), (5, 17, 2, 32), (33, 100, 3, 48)]


@pytest.mark.parametrize(("batch", "before", "heads", "width"), STEPS)
def test_prefill_and_steps_equal_attention_over_the_whole_sequence(
    batch: int, before: int, heads: int, width: int
) -> None:
    length = before + 2
    _, (x, *weights) = attention_layer(batch, length, heads, width, 0)
    rope = rope_table(length, width)
    exact = residual_attention(
        x.double(), AttentionWeights(*(w.double() for w in weights)), rope.double(), backend="naive"
    )
    for backend in ("cpu", "naive"):
        k, v = caches(batch, heads, length, width)
        outputs = []
        if before:
            head, cache = (
                (x[:, :before], AttentionWeights(*weights), rope[:before]),
                (k[:, :, :before], v[:, :, :before]),
            )
            outputs = [*residual_attention(*head, cache=cache, backend=backend).unbind(1)]
        for t in range(before, length):
            here = (x[:, t], AttentionWeights(*weights), rope[t], (k[:, :, : t + 1], v[:, :, : t + 1]))
            outputs.append(residual_attention_step(*here, backend=backend))
        torch.testing.assert_close(torch.stack(outputs, 1).double(), exact, rtol=1e-5, atol=1e-5)
        assert k.isfinite().all()
        assert v.isfinite().all()


def test_a_step_has_the_same_bits_with_any_number_of_threads_and_poisoned_memory() -> None:
    _, (x, *weights) = attention_layer(40, 1, 4, 16, 0)
    rope, history = rope_table(101, 16), torch.randn(2, 40, 4, 101, 16)

    def step() -> Outputs:
        k, v = history.clone()
        return (residual_attention_step(x[:, 0], AttentionWeights(*weights), rope[100], (k, v), backend="cpu"),)

    assert_same_bits(step)


def test_a_nan_in_one_cache_stays_in_its_sequence() -> None:
    _, (x, *weights) = attention_layer(3, 1, 2, 16, 0)
    k, v = torch.randn(2, 3, 2, 20, 16)
    k[1, 0, 7, 2] = torch.nan
    y = residual_attention_step(x[:, 0], AttentionWeights(*weights), rope_table(20, 16)[19], (k, v), backend="cpu")
    assert y[1].isnan().all()
    assert y[[0, 2]].isfinite().all()


def test_a_transposed_token_gives_the_same_result() -> None:
    _, (x, *weights) = attention_layer(32, 1, 2, 16, 0)
    k, v = torch.randn(2, 32, 2, 20, 16)
    token, rest = x[:, 0], (AttentionWeights(*weights), rope_table(20, 16)[19], (k, v))
    wanted = residual_attention_step(token, *rest, backend="cpu")
    transposed = token.t().contiguous().t()
    assert torch.equal(residual_attention_step(transposed, *rest, backend="cpu"), wanted)


def test_shapes_that_do_not_fit_together_are_refused() -> None:
    _, (x, *weights) = attention_layer(32, 6, 2, 16, 0)
    rope, (k, v), layer = rope_table(6, 16), torch.randn(2, 32, 2, 6, 16), AttentionWeights(*weights)
    for wrong in (
        (x[:31, 0], layer, rope[5], (k, v)),
        (x[:, 0], layer, rope[5], (k, v[:, :, :5])),
        (x[:, 0], layer, rope[5, :8], (k, v)),
        (x[:, 0, :16], layer, rope[5], (k, v)),
    ):
        with pytest.raises(ValueError, match=r"does not fit|it must be"):
            residual_attention_step(*wrong)
    for angles in (rope[:5], rope[:, :12]):
        with pytest.raises(ValueError, match=r"rope of shape .* does not fit x"):
            residual_attention(x, layer, angles)
    for cache in ((k[:1], v[:1]), (k[:, :, :5], v[:, :, :5])):
        with pytest.raises(ValueError, match=r"does not fit|caches of 5 tokens are given for 6"):
            residual_attention(x, layer, rope, cache=cache)


def test_autograd_notices_that_a_cache_was_written() -> None:
    _, (x, *weights) = attention_layer(32, 1, 2, 16, 0)
    k, v = torch.randn(2, 32, 2, 20, 16)
    factor = torch.ones((), requires_grad=True)
    later = (factor * k).sum()  # needs k as it is now
    residual_attention_step(x[:, 0], AttentionWeights(*weights), rope_table(20, 16)[19], (k, v), backend="cpu")
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        later.backward()


def test_caches_whose_rows_lie_apart_are_refused() -> None:
    _, (x, *weights) = attention_layer(3, 1, 2, 16, 0)
    k = torch.randn(3, 2, 16, 20).transpose(2, 3)
    with pytest.raises(ValueError, match="rows lie apart"):
        residual_attention_step(x[:, 0], AttentionWeights(*weights), rope_table(20, 16)[19], (k, k))
