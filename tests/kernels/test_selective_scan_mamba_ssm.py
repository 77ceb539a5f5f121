"""The package `mamba_ssm` works as a backend (its GPU kernel has a stand-in here), and its reference scan agrees."""

import importlib.util
import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch
from torch import Tensor

from retrieval_gap.kernels.selective_scan import mamba_ssm, naive
from retrieval_gap.kernels.selective_scan.inputs import ScanInputs
from tests.kernels.oracles import Outputs, assert_close, values_and_gradients
from tests.kernels.test_selective_scan import NAMES, inputs, scan

ROWS = (0, 1, 3, 4, 6)  # the inputs with a time axis: x, delta, B, C, z


def stand_in_scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    z: Tensor | None = None,
    delta_bias: Tensor | None = None,
    delta_softplus: bool = False,
    return_last_state: bool = False,
) -> tuple[Tensor, Tensor]:
    """The naive scan with the signature of the package's `selective_scan_fn`: time last, no initial state."""
    assert delta_softplus
    assert return_last_state
    assert D is not None
    x, delta, B, C = (t.transpose(1, 2) for t in (u, delta, B, C))
    z = None if z is None else z.transpose(1, 2)
    y, state = naive.selective_scan(ScanInputs(x, delta, A, B, C, D, z, delta_bias))
    return y.transpose(1, 2), state


@pytest.fixture
def stand_ins(monkeypatch: pytest.MonkeyPatch) -> None:
    for path in ("mamba_ssm", "mamba_ssm.ops"):
        monkeypatch.setitem(sys.modules, path, ModuleType(path))
    interface = SimpleNamespace(selective_scan_fn=stand_in_scan)
    monkeypatch.setitem(sys.modules, "mamba_ssm.ops.selective_scan_interface", interface)


@pytest.mark.parametrize(
    ("installed", "cuda", "missing"),
    [
        ((), True, "mamba_ssm is not installed"),
        (("mamba_ssm",), True, "mamba_ssm is installed, but not its compiled extension selective_scan_cuda"),
        (("mamba_ssm", "selective_scan_cuda"), False, "torch finds no CUDA device"),
        (("mamba_ssm", "selective_scan_cuda"), True, None),
    ],
)
def test_a_missing_package_and_a_missing_extension_have_different_reasons(
    installed: tuple[str, ...], cuda: bool, missing: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name if name in installed else None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    backend = mamba_ssm.find_backend()
    assert backend.missing == missing
    assert backend.by_name
    assert backend.refuses(inputs(1, 2, 3, 4)) == "it takes tensors on a CUDA device, and one is on cpu"


@pytest.mark.usefixtures("stand_ins")
@pytest.mark.parametrize(
    "without", [(), (6,), (7,), (8,), (6, 7, 8)], ids=["nothing", "z", "bias", "state", "all three"]
)
def test_the_backend_transposes_time_and_supplies_an_initial_state(without: tuple[int, ...]) -> None:
    arguments = [None if i in without else t for i, t in enumerate(inputs(2, 9, 5, 4))]

    def y_alone(*given: Tensor | None) -> Outputs:
        return mamba_ssm.selective_scan(ScanInputs(*given))[:1]

    ours = values_and_gradients(y_alone, arguments, torch.float32)
    oracle = values_and_gradients(lambda *given: naive.selective_scan(ScanInputs(*given))[:1], arguments, torch.float64)
    names = [name for i, name in enumerate(NAMES) if i - 2 not in without and name != "final state"]
    assert_close(ours, oracle, names)
    state = mamba_ssm.selective_scan(ScanInputs(*arguments))[1]
    assert_close((state,), (naive.selective_scan(ScanInputs(*arguments))[1],), ["final state"])


@pytest.mark.usefixtures("stand_ins")
def test_a_gradient_through_the_final_state_is_an_error() -> None:
    leaves = [t.requires_grad_() for t in inputs(1, 3, 4, 2)]
    with pytest.raises(RuntimeError, match="no gradient through the final state"):
        mamba_ssm.selective_scan(ScanInputs(*leaves))[1].sum().backward()


@pytest.mark.parametrize("backend", ["naive", "cpu", "triton"])
def test_the_packages_own_reference_computes_the_same(backend: str) -> None:
    """`selective_scan_ref`, plain PyTorch: an oracle from outside the project."""
    reason = "mamba_ssm is not installed, or not its compiled extension"
    interface = pytest.importorskip("mamba_ssm.ops.selective_scan_interface", reason=reason, exc_type=ImportError)
    device = "cuda" if backend == "triton" and torch.cuda.is_available() else "cpu"
    arguments = [t.to(device) for t in inputs(2, 33, 7, 16)[:8]]
    x, delta, B, C, z = (arguments[i].transpose(1, 2) for i in ROWS)
    A, D, bias = (arguments[i] for i in (2, 5, 7))
    theirs = interface.selective_scan_ref(x, delta, A, B, C, D, z, bias, delta_softplus=True, return_last_state=True)
    y, state = scan(backend, *arguments, None)
    assert_close((y, state), (theirs[0].transpose(1, 2), theirs[1]), ["y", "final state"])
