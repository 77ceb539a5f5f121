"""The compiled scan gives the values and all gradients of the naive one in float64, at awkward sizes."""

import threading

import pytest
import torch
from torch import Tensor

from retrieval_gap.kernels.dispatch import cpu_and_naive, describe
from retrieval_gap.kernels.selective_scan import ScanInputs, backends, naive, selective_scan, selective_scan_step
from tests.kernels.oracles import Outputs, assert_close, values_and_gradients

NAMES = ["y", "final state", "x", "delta", "A", "B", "C", "D", "z", "bias", "initial state"]


def inputs(batch: int, length: int, channels: int, states: int) -> list[Tensor | None]:
    """x, delta, A, B, C, D, z, delta_bias, initial_state."""
    generator = torch.Generator().manual_seed(length)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    wide, narrow = (batch, length, channels), (batch, length, states)
    A = -torch.rand(channels, states, generator=generator) * 8 - 0.5
    return [
        *(normal(*wide), normal(*wide) - 2, A, normal(*narrow), normal(*narrow), normal(channels)),
        *(normal(*wide), normal(channels), normal(batch, channels, states)),
    ]


def scan(backend: str, *arguments: Tensor | None) -> Outputs:
    return selective_scan(ScanInputs(*arguments), backend=backend)


def results(backend: str, arguments: list[Tensor | None]) -> Outputs:
    dtype = torch.float64 if backend == "naive" else torch.float32
    return values_and_gradients(lambda *given: scan(backend, *given), arguments, dtype)


def test_this_machine_has_the_compiled_scan() -> None:
    states = describe(backends())
    assert list(states) == ["triton", "mamba_ssm", "cpu", "naive"]
    assert (states["cpu"], states["naive"]) == ("available", "available")


@pytest.mark.parametrize(
    ("batch", "length", "channels", "states"),
    [
        *((3, 1, 7, 16), (3, 2, 128, 16), (1, 63, 7, 16), (3, 64, 128, 16), (3, 65, 7, 5)),
        *((9, 100, 130, 16), (1, 257, 33, 1), (2, 17, 128, 20)),
    ],
)
def test_values_and_gradients_are_those_of_float64(batch: int, length: int, channels: int, states: int) -> None:
    arguments = inputs(batch, length, channels, states)
    assert_close(results("cpu", arguments), results("naive", arguments), NAMES)


@pytest.mark.parametrize("without", [(6,), (7,), (8,), (6, 7, 8)], ids=["z", "bias", "state", "all three"])
def test_optional_inputs_may_be_left_out(without: tuple[int, ...]) -> None:
    arguments = [None if i in without else t for i, t in enumerate(inputs(2, 35, 19, 16))]
    names = [name for i, name in enumerate(NAMES) if i - 2 not in without]
    assert_close(results("cpu", arguments), results("naive", arguments), names)


def test_gradients_of_the_final_state_alone_are_those_of_float64() -> None:
    def state_only(backend: str, dtype: torch.dtype) -> Outputs:
        def hide_y(*given: Tensor | None) -> Outputs:
            y, state = scan(backend, *given)
            return 0 * y, state

        return values_and_gradients(hide_y, inputs(2, 35, 19, 4), dtype)

    assert_close(state_only("cpu", torch.float32), state_only("naive", torch.float64), NAMES)


def test_two_calls_with_carried_state_equal_one() -> None:
    arguments = inputs(2, 50, 128, 16)
    whole_y, whole_state = scan("cpu", *arguments)
    timed = {0, 1, 3, 4, 6}
    first = [t[:, :23] if i in timed else t for i, t in enumerate(arguments)]
    second = [t[:, 23:] if i in timed else t for i, t in enumerate(arguments)]
    first_y, state = scan("cpu", *first)
    second_y, state = scan("cpu", *second[:8], state)
    torch.testing.assert_close(torch.cat([first_y, second_y], 1), whole_y, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(state, whole_state, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("batch", "channels", "states"), [(1, 128, 16), (3, 7, 5), (2, 33, 20), (70, 128, 16)])
@pytest.mark.parametrize("backend", ["cpu", "naive"])
def test_a_step_is_a_scan_of_one(batch: int, channels: int, states: int, backend: str) -> None:
    *arguments, state = inputs(batch, 1, channels, states)
    y, new_state = scan(backend, *arguments, state)
    flat = [t[:, 0] if i in {0, 1, 3, 4, 6} else t for i, t in enumerate(arguments)]
    before = state.clone()
    step_y, step_state = selective_scan_step(ScanInputs(*flat, state), backend=backend)
    torch.testing.assert_close(step_y, y[:, 0], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(step_state, new_state, rtol=1e-5, atol=1e-5)
    assert torch.equal(state, before)


def test_a_step_has_gradients() -> None:
    arguments = [t[:, 0] if i in {0, 1, 3, 4, 6} else t for i, t in enumerate(inputs(2, 1, 7, 5))]
    for leaf in arguments:
        leaf.requires_grad_()
    y, _ = selective_scan_step(ScanInputs(*arguments))
    y.sum().backward()
    assert all(leaf.grad is not None for leaf in arguments)


def test_slices_of_fused_projections_give_the_same_values() -> None:
    """x and z are halves of one projection, B and C columns of another, as in Mamba."""
    x, delta, A, B, C, D, z, bias, state = inputs(3, 37, 24, 8)
    xz, dt_B_C = torch.cat([x, z], 2), torch.cat([torch.randn(3, 37, 5), B, C], 2)
    _, sliced_B, sliced_C = dt_B_C.split([5, 8, 8], 2)
    sliced = [xz[..., :24], delta, A, sliced_B, sliced_C, D, xz[..., 24:], bias, state]
    transposed = [t if t.dim() < 3 else t.transpose(1, 2).contiguous().transpose(1, 2) for t in sliced]
    wanted = scan("cpu", x, delta, A, B, C, D, z, bias, state)
    for arguments in (sliced, transposed):
        for mine, oracle in zip(scan("cpu", *arguments), wanted, strict=True):
            assert torch.equal(mine, oracle)


@pytest.mark.usefixtures("poisoned_memory")
@pytest.mark.parametrize("size", [(3, 33, 7, 5), (9, 40, 130, 16)])
def test_no_uninitialised_memory_is_used(size: tuple[int, int, int, int]) -> None:
    assert torch.empty(3).isnan().all()
    for result in results("cpu", inputs(*size)):
        assert result.isfinite().all()


@pytest.fixture
def restored_thread_count():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("restored_thread_count")
def test_same_bits_with_any_number_of_threads_and_in_every_run() -> None:
    arguments, runs = inputs(17, 70, 160, 16), []
    for threads in (1, 2, 2, 3):
        torch.set_num_threads(threads)
        runs.append(results("cpu", arguments))
    for again in runs[1:]:
        for name, first, second in zip(NAMES, runs[0], again, strict=True):
            assert torch.equal(first, second), name


@pytest.mark.parametrize("which", range(9), ids=NAMES[2:])
def test_nan_in_gives_nan_out(which: int) -> None:
    arguments = inputs(2, 20, 19, 16)
    arguments[which] = arguments[which].clone()
    arguments[which].view(-1)[0] = torch.nan
    y, state = scan("cpu", *arguments)
    assert y.isnan().any()
    assert torch.equal(y.isnan(), scan("naive", *arguments)[0].isnan())
    assert torch.equal(state.isnan(), scan("naive", *arguments)[1].isnan())


def test_a_huge_delta_gives_finite_outputs_and_growing_states_overflow() -> None:
    x, delta, A, B, C, D, _, _, state = inputs(1, 3, 16, 4)
    delta[:, 1] = 1e4
    assert scan("cpu", x, delta, A, B, C, D, None, None, state)[0].isfinite().all()
    assert scan("cpu", x, delta, -A, B, C, D, None, None, state)[1].isinf().any()


def test_backward_works_in_another_thread() -> None:
    arguments = [t.requires_grad_() for t in inputs(9, 40, 128, 16)]
    y, _ = scan("cpu", *arguments)
    there = threading.Thread(target=lambda: y.sum().backward())
    there.start()
    there.join()
    in_thread = [t.grad.clone() for t in arguments]
    y, _ = scan("cpu", *arguments)
    for mine, oracle in zip(torch.autograd.grad(y.sum(), arguments), in_thread, strict=True):
        assert torch.equal(mine, oracle)


def test_python_threads_give_the_same_bits_if_pytorch_has_no_openmp(monkeypatch: pytest.MonkeyPatch) -> None:
    from retrieval_gap.kernels.cpu import jobs

    arguments = inputs(9, 40, 128, 16)
    wanted = results("cpu", arguments)
    monkeypatch.setattr(jobs, "_openmp_of_torch", lambda: None)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    for mine, oracle in zip(results("cpu", arguments), wanted, strict=True):
        assert torch.equal(mine, oracle)


def test_empty_sequences_leave_the_state_alone() -> None:
    arguments = inputs(2, 1, 7, 5)
    arguments = [t[:, :0] if i in {0, 1, 3, 4, 6} else t for i, t in enumerate(arguments)]
    y, state = scan("cpu", *arguments)
    assert y.shape == (2, 0, 7)
    assert torch.equal(state, arguments[8])


def test_other_dtypes_fall_back_to_naive_with_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    from retrieval_gap.kernels import dispatch

    dispatch._say_once.cache_clear()
    arguments = [t.double() for t in inputs(1, 3, 4, 2)]
    for _ in range(2):
        assert selective_scan(ScanInputs(*arguments[:8]))[0].dtype == torch.float64
    assert [record.message for record in caplog.records] == [
        "selective scan runs in the slower backend 'naive' (cpu: it takes float32, and a tensor is float64)"
    ]


def test_wrong_use_is_reported_in_full() -> None:
    x, delta, A, B, C, D, *_ = inputs(2, 3, 4, 5)
    with pytest.raises(ValueError, match="'gpu' of selective scan; choose one of: auto, triton, mamba_ssm, cpu, naive"):
        selective_scan(ScanInputs(x, delta, A, B, C, D), backend="gpu")
    with pytest.raises(RuntimeError, match="it takes float32, and a tensor is float64"):
        selective_scan(ScanInputs(x.double(), delta, A, B, C, D), backend="cpu")
    with pytest.raises(ValueError, match=r"delta has shape \(2, 2, 4\); it must be \(2, 3, 4\)"):
        selective_scan(ScanInputs(x, delta[:, 1:], A, B, C, D))
    with pytest.raises(ValueError, match=r"B has shape \(2, 3, 4\)"):
        selective_scan(ScanInputs(x, delta, A, B[..., 1:], C, D))
    with pytest.raises(ValueError, match=r"D has shape \(3,\); it must be \(4,\)"):
        selective_scan(ScanInputs(x, delta, A, B, C, D[1:]))


def test_hugging_face_mamba_computes_the_same() -> None:
    """`MambaMixer` in plain PyTorch: an oracle from outside the project, for convolution and scan together."""
    mamba = pytest.importorskip("transformers.models.mamba.modeling_mamba")
    from transformers import MambaConfig

    from retrieval_gap.kernels.causal_conv1d import causal_conv1d

    torch.manual_seed(0)
    config = MambaConfig(hidden_size=32, state_size=16, num_hidden_layers=1, vocab_size=8, use_mambapy=False)
    mixer = mamba.MambaMixer(config, layer_idx=0)
    hidden_BxLxD = torch.randn(3, 37, 32)
    with torch.no_grad():
        theirs = mixer(hidden_BxLxD)
        x, z = mixer.in_proj(hidden_BxLxD).chunk(2, -1)
        x, _ = causal_conv1d(x, mixer.conv1d.weight[:, 0], mixer.conv1d.bias, backend="cpu")
        dt, B, C = mixer.x_proj(x).split([config.time_step_rank, 16, 16], -1)
        delta, A = dt @ mixer.dt_proj.weight.T, -mixer.A_log.exp()
        y, _ = selective_scan(ScanInputs(x, delta, A, B, C, mixer.D, z, mixer.dt_proj.bias), backend="cpu")
        torch.testing.assert_close(mixer.out_proj(y), theirs, rtol=1e-4, atol=1e-5)


def test_without_compilation_the_reason_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")
    assert cpu_and_naive("anything", naive)["cpu"].missing == "NUMBA_DISABLE_JIT is set"
    monkeypatch.delenv("NUMBA_DISABLE_JIT")
    assert "numba cannot be used: No module named" in str(cpu_and_naive("no_such_module", naive)["cpu"].missing)
