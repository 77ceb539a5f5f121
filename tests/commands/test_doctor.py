"""`doctor` reports each GPU package as installed, not installed, or installed without its compiled part."""

import pytest

from retrieval_gap.commands import doctor


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The package names that count as installed; a test adds some."""
    names: set[str] = set()
    monkeypatch.setattr(doctor, "_is_installed", lambda name: name in names)
    monkeypatch.setattr("sys.platform", "linux")
    return names


def test_a_missing_package_is_reported_with_the_command_that_installs_it(installed: set[str]) -> None:
    told = doctor.gpu_packages()
    assert set(told) == {"triton", "mamba_ssm"}
    for state in told.values():
        assert state.startswith("not installed")
        assert "pip install --no-build-isolation 'retrieval-gap[gpu]'" in state


def test_a_package_without_its_compiled_part_is_reported_with_the_command_that_compiles_it(
    installed: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    installed |= {"triton", "mamba_ssm"}
    monkeypatch.setattr("torch.version.cuda", "12.8")
    monkeypatch.setattr("shutil.which", lambda name: None)
    state = doctor.gpu_packages()["mamba_ssm"]
    assert "without its compiled part (selective_scan_cuda)" in state
    assert "nvcc of CUDA 12.8" in state
    assert "there is no nvcc on the path" in state
    assert "MAMBA_FORCE_BUILD=TRUE pip install --no-build-isolation" in state


def test_a_torch_without_cuda_is_reported_first(installed: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    installed |= {"mamba_ssm"}
    monkeypatch.setattr("torch.version.cuda", None)
    assert "this torch is built without CUDA" in doctor.gpu_packages()["mamba_ssm"]


def test_a_complete_installation_is_reported_as_installed(installed: set[str]) -> None:
    installed |= {"triton", "mamba_ssm", "selective_scan_cuda"}
    assert all(state.startswith("installed") for state in doctor.gpu_packages().values())


def test_outside_linux_there_is_nothing_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    assert doctor.gpu_packages() == {"gpu": "the packages of the extra gpu are for Linux"}


def test_the_brackets_of_an_extra_are_printed(
    installed: set[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "try_out", lambda arch: None)
    doctor.print_report()
    assert "'retrieval-gap[gpu]'" in "".join(capsys.readouterr().out.split("\n"))
