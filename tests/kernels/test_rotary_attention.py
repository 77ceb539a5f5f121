"""The attention kernel gives PyTorch's values and gradients, at awkward sizes, whatever the memory held before."""

import pytest
import torch

from retrieval_gap.kernels.rotary_attention import cpu, naive, rotary_attention


def rope_table(length: int, width: int) -> torch.Tensor:
    rate = 10_000.0 ** -(torch.arange(width // 2) / (width // 2))
    angle = torch.arange(length)[:, None] * rate
    return torch.cat([angle.cos(), angle.sin()], 1)


def inputs(batch: int, length: int, heads: int, width: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(length)
    qkv = 2 * torch.randn(batch, length, 3 * heads * width, generator=generator)
    grad = torch.randn(batch, length, heads * width, generator=generator)
    return qkv, grad, rope_table(length, width)


def value_and_gradient(
    module: object, qkv: torch.Tensor, grad: torch.Tensor, rope: torch.Tensor, heads: int
) -> tuple[torch.Tensor, torch.Tensor]:
    qkv = qkv.detach().requires_grad_()
    y = module.rotary_attention(qkv, rope, heads)  # type: ignore[attr-defined]
    y.backward(grad)
    assert qkv.grad is not None
    return y.detach(), qkv.grad


SHAPES = [(1, 1, 1, 16), (3, 2, 2, 16), (2, 15, 1, 32), (1, 16, 2, 16), (2, 17, 3, 48), (2, 63, 2, 16), (1, 257, 2, 32)]


@pytest.mark.parametrize(("batch", "length", "heads", "width"), SHAPES)
def test_values_and_gradients_are_those_of_float64(batch: int, length: int, heads: int, width: int) -> None:
    qkv, grad, rope = inputs(batch, length, heads, width)
    ours = value_and_gradient(cpu, qkv, grad, rope, heads)
    theirs = value_and_gradient(naive, qkv.double(), grad.double(), rope.double(), heads)
    for mine, oracle in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine.double(), oracle, rtol=1e-4, atol=1e-5)


def test_memory_is_written_before_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    qkv, grad, rope = inputs(2, 37, 2, 16)
    clean = value_and_gradient(cpu, qkv, grad, rope, 2)
    empty = torch.empty

    def poisoned(*shape: int, **kwargs: object) -> torch.Tensor:
        return empty(*shape, **kwargs).fill_(255)  # type: ignore[call-overload] # bytes of a NaN

    monkeypatch.setattr(torch, "empty", poisoned)
    for mine, again in zip(clean, value_and_gradient(cpu, qkv, grad, rope, 2), strict=True):
        assert torch.equal(mine, again)


def test_two_runs_and_any_number_of_threads_give_equal_bits() -> None:
    qkv, grad, rope = inputs(8, 100, 4, 16)
    before = torch.get_num_threads()
    runs = []
    try:
        for threads in (1, 2, 2):
            torch.set_num_threads(threads)
            runs.append(value_and_gradient(cpu, qkv, grad, rope, 4))
    finally:
        torch.set_num_threads(before)
    for run in runs[1:]:
        assert torch.equal(run[0], runs[0][0])
        assert torch.equal(run[1], runs[0][1])


def test_rows_may_lie_apart_in_memory() -> None:
    qkv, grad, rope = inputs(2, 20, 2, 16)
    wide = torch.randn(2, 20, 200)
    wide[..., 50:146] = qkv
    ours = value_and_gradient(cpu, wide[..., 50:146], grad, rope, 2)
    for mine, packed in zip(ours, value_and_gradient(cpu, qkv, grad, rope, 2), strict=True):
        assert torch.equal(mine, packed)


def test_a_nan_comes_out_where_it_is_seen_and_nowhere_else() -> None:
    qkv, _, rope = inputs(1, 20, 1, 16)
    qkv[0, 9, 3] = torch.nan  # a query
    y = cpu.rotary_attention(qkv, rope, 1)
    assert y[0, 9].isnan().all()
    assert not y[0, :9].isnan().any()
    assert not y[0, 10:].isnan().any()


@pytest.mark.parametrize(("width", "dtype"), [(8, torch.float32), (16, torch.float64)])
def test_what_the_kernel_refuses_runs_in_pytorch(width: int, dtype: torch.dtype) -> None:
    qkv, _, rope = inputs(2, 9, 2, width)
    qkv, rope = qkv.to(dtype), rope.to(dtype)
    torch.testing.assert_close(rotary_attention(qkv, rope, 2), naive.rotary_attention(qkv, rope, 2))
