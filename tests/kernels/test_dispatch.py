"""One place decides which backend runs, and gives the reason if a faster or a requested one cannot."""

import importlib.util
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from retrieval_gap.kernels import dispatch
from retrieval_gap.kernels.dispatch import Backend, choose, describe
from retrieval_gap.kernels.selective_scan import ScanInputs, chosen_backend, selective_scan, use_backend
from retrieval_gap.machine.errors import UsageError
from tests.kernels.test_selective_scan import inputs

FAST, SLOW = ModuleType("fast"), ModuleType("slow")
KERNELS = "retrieval_gap.kernels.selective_scan.triton"


def refuse_nothing(tensors: list[Tensor]) -> None:
    return None


def triton_on(monkeypatch: pytest.MonkeyPatch, *, cuda: bool, capability: tuple[int, int] = (9, 0)) -> Backend:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    return dispatch.find_triton_backend(KERNELS, refuse_nothing)


def test_auto_skips_a_backend_that_is_available_by_name_only() -> None:
    backends = {"fast": Backend(module=FAST, by_name=True), "slow": Backend(module=SLOW)}
    assert choose("scan", backends, "auto", []) is SLOW
    assert choose("scan", backends, "fast", []) is FAST
    assert describe(backends) == {"fast": "available by name", "slow": "available"}


def test_a_missing_triton_is_reported_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    assert triton_on(monkeypatch, cuda=False).missing == "torch finds no CUDA device"
    old = triton_on(monkeypatch, cuda=True, capability=(7, 5)).missing
    assert old == "it needs compute capability 8.0, and the device has 7.5"
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert triton_on(monkeypatch, cuda=True).missing == "triton is not installed"


def test_a_triton_that_cannot_launch_kernels_counts_as_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = pytest.importorskip("triton.runtime", reason="triton is not installed")

    class NoCompiler:
        @property
        def active(self) -> Any:
            raise RuntimeError("Failed to find C compiler")

    monkeypatch.setattr(runtime, "driver", NoCompiler())
    missing = triton_on(monkeypatch, cuda=True).missing
    assert missing == "triton cannot launch kernels (RuntimeError: Failed to find C compiler)"


def test_triton_takes_cuda_tensors_of_three_types(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    refuse = dispatch.refuse_what_triton_cannot_take
    assert refuse([torch.zeros(2)]) == "it takes tensors on a CUDA device, and one is on cpu"
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    assert refuse([torch.zeros(2), torch.zeros(2, dtype=torch.bfloat16)]) is None
    assert refuse([torch.zeros(2), torch.zeros(2, device="meta")]) == "tensors are on cpu and on meta"
    assert "a tensor is int64" in str(refuse([torch.zeros(2, dtype=torch.int64)]))


def test_use_backend_chooses_the_backend_of_the_scan() -> None:
    arguments = [t.double() for t in inputs(1, 3, 4, 2)[:6]]
    with use_backend("cpu"):
        assert chosen_backend() == "cpu"
        with pytest.raises(RuntimeError, match="cpu: it takes float32"):
            selective_scan(ScanInputs(*arguments))
        with use_backend("naive"):
            selective_scan(ScanInputs(*arguments))
        selective_scan(ScanInputs(*arguments), backend="naive")
    assert chosen_backend() == "auto"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_backend_that_this_machine_lacks_is_refused_at_once() -> None:
    with pytest.raises(UsageError, match="scan backend mamba_ssm cannot be used here: "), use_backend("mamba_ssm"):
        raise AssertionError


def test_a_slower_backend_is_reported_only_if_a_faster_one_for_this_device_is_missing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    gpu, cpu = (Backend(module=None, missing=f"none in {name}", device=name) for name in ("cuda", "cpu"))
    assert choose("quiet", {"gpu": gpu, "slow": Backend(module=SLOW)}, "auto", [torch.zeros(1)]) is SLOW
    assert not caplog.records
    assert choose("told", {"gpu": gpu, "cpu": cpu, "slow": Backend(module=SLOW)}, "auto", [torch.zeros(1)]) is SLOW
    assert [record.message for record in caplog.records] == [
        "told runs in the slower backend 'slow' (cpu: none in cpu)"
    ]
