"""The store of token states: each text is read once, by the right model, even after a kill or damage."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from retrieval_gap.llm.embeddings import StatesConfig, states_of, store
from retrieval_gap.llm.embeddings.config import fingerprint, states_width
from retrieval_gap.llm.embeddings.reader import StateReader
from retrieval_gap.machine.errors import RunError, UsageError
from tests.llm.embeddings.tiny import POSITIONS, WIDTH, save

TEXTS = ["Answer each question.", "So the answer is: Town 7.", "Club 3 plays chess"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save("bert", tmp_path_factory.mktemp("bert"))


def test_stored_states_are_those_of_the_model(folder: Path, tmp_path: Path) -> None:
    config = StatesConfig(model=str(folder), precision="fp32")
    found = states_of(config, TEXTS, tmp_path)
    for text, read in zip(TEXTS, StateReader(config).read(TEXTS), strict=True):
        torch.testing.assert_close(found[text].states_LxD, read.states_LxD, atol=1e-5, rtol=1e-5)
        assert found[text].word_L.tolist() == read.word_L.tolist()


def test_states_are_stored_in_fp16_by_default(folder: Path, tmp_path: Path) -> None:
    assert states_of(StatesConfig(model=str(folder)), TEXTS, tmp_path)[TEXTS[0]].states_LxD.dtype == torch.float16


def test_stored_texts_need_no_model(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = StatesConfig(model=str(folder))
    states_of(config, TEXTS, tmp_path)
    monkeypatch.delattr(store, "StateReader")
    assert TEXTS[1] in states_of(config, TEXTS[:2], tmp_path)


def test_a_killed_reading_resumes_at_the_next_shard(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "SHARD_TEXTS", 1)
    config, read = StatesConfig(model=str(folder)), StateReader.read
    left = [2]

    def dies(reader: StateReader, texts: list[str]) -> object:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return read(reader, texts)

    monkeypatch.setattr(StateReader, "read", dies)
    with pytest.raises(KeyboardInterrupt):
        states_of(config, TEXTS, tmp_path)
    left[0] = 1  # only one text is missing
    assert all(text in states_of(config, TEXTS, tmp_path) for text in TEXTS)


def test_at_most_one_shard_of_texts_is_read_at_a_time(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, held = StateReader.read, []

    def counts(reader: StateReader, texts: list[str]) -> object:
        held.append(len(texts))
        return read(reader, texts)

    monkeypatch.setattr(StateReader, "read", counts)
    monkeypatch.setattr(store, "SHARD_TEXTS", 2)
    found = states_of(StatesConfig(model=str(folder)), TEXTS, tmp_path)
    assert held == [2, 1]
    assert len(list(found.folder.glob("*.safetensors"))) == 2


def test_a_text_longer_than_the_window_is_reported(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    states_of(StatesConfig(model=str(folder)), ["Town 7 " * POSITIONS, *TEXTS], tmp_path)
    told = capsys.readouterr().err
    assert f"1 texts are longer than {folder} reads at once: read in overlapping windows of {POSITIONS}" in told


def _half(content: bytes) -> bytes:
    return content[: len(content) // 2]


def _one_byte_changed(content: bytes) -> bytes:
    return content[:-7] + bytes([content[-7] ^ 1]) + content[-6:]


@pytest.mark.parametrize("damaged", [_half, _one_byte_changed])
def test_a_damaged_shard_is_reported_and_read_again(
    folder: Path, tmp_path: Path, damaged: Callable[[bytes], bytes], caplog: pytest.LogCaptureFixture
) -> None:
    config = StatesConfig(model=str(folder))
    found = states_of(config, TEXTS, tmp_path)
    (shard,) = found.folder.glob("*.safetensors")
    whole = shard.read_bytes()
    shard.write_bytes(damaged(whole))
    states_of(config, TEXTS[:1], tmp_path)
    (told,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert f"token states in {shard} are damaged (" in told
    again = states_of(config, TEXTS, tmp_path)
    new = states_of(config, TEXTS, tmp_path / "new")
    for text in TEXTS:
        torch.testing.assert_close(again[text].states_LxD, new[text].states_LxD, atol=2e-3, rtol=2e-3)
        assert again[text].word_L.tolist() == new[text].word_L.tolist()


def test_states_of_a_damaged_shard_are_never_returned(folder: Path, tmp_path: Path) -> None:
    config = StatesConfig(model=str(folder))
    (shard,) = states_of(config, TEXTS, tmp_path).folder.glob("*.safetensors")
    shard.write_bytes(_one_byte_changed(shard.read_bytes()))
    with pytest.raises(RunError, match=r"are damaged \(its SHA-256 differs\); delete it and start again"):
        _ = store.StateStore(config, tmp_path)[TEXTS[0]]


def test_a_shard_that_cannot_be_opened_is_kept(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = StatesConfig(model=str(folder))
    found = states_of(config, TEXTS, tmp_path)
    (shard,) = found.folder.glob("*.safetensors")

    def no_files_left(path: Path, framework: str) -> None:
        raise FileNotFoundError(f"No such file or directory: {path}")  # safetensors' message for too many open files

    with monkeypatch.context() as full:
        full.setattr(store, "safe_open", no_files_left)
        for use in (lambda: states_of(config, TEXTS, tmp_path), lambda: found[TEXTS[0]]):
            with pytest.raises(RunError, match=r"cannot be opened .*: are too many files open"):
                use()
    assert shard.exists()


def test_a_shard_of_an_earlier_version_has_no_digest_and_is_read(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = StatesConfig(model=str(folder))
    found = states_of(config, TEXTS, tmp_path)
    (shard,) = found.folder.glob("*.safetensors")
    save_file(load_file(shard), shard)
    monkeypatch.delattr(store, "StateReader")
    again = states_of(config, TEXTS, tmp_path)
    assert all(torch.equal(again[text].states_LxD, found[text].states_LxD) for text in TEXTS)


def test_a_shard_is_read_whole_only_once(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config, digest, taken = StatesConfig(model=str(folder)), store._digest, []
    states_of(config, TEXTS, tmp_path)
    monkeypatch.setattr(store, "_digest", lambda tensors: taken.append(1) or digest(tensors))
    found = states_of(config, TEXTS, tmp_path)
    for text in (*TEXTS, *TEXTS):
        _ = found[text]
    assert found.missing(TEXTS) == []
    assert len(taken) == 1


def test_states_are_never_returned_for_other_weights(folder: Path, tmp_path: Path) -> None:
    other = save("bert", tmp_path / "other", seed=1)
    one, two = StatesConfig(model=str(folder)), StatesConfig(model=str(other))
    assert fingerprint(one.model) != fingerprint(two.model)
    first, second = (states_of(config, TEXTS, tmp_path / "cache") for config in (one, two))
    assert first.folder != second.folder
    (first.folder / "states.json").write_text((second.folder / "states.json").read_text())
    with pytest.raises(RunError, match="were written by other weights or settings"):
        states_of(one, TEXTS, tmp_path / "cache")


@pytest.mark.parametrize("change", [{"layer": 0}, {"copies": 2}, {"window": 32}, {"precision": "fp32"}])
def test_other_settings_have_a_folder_of_their_own(folder: Path, tmp_path: Path, change: dict[str, object]) -> None:
    plain = StatesConfig(model=str(folder))
    changed = StatesConfig(**{"model": str(folder)} | change)  # type: ignore[arg-type]
    assert store.StateStore(plain, tmp_path).folder != store.StateStore(changed, tmp_path).folder


def test_one_changed_weight_changes_the_fingerprint(folder: Path, tmp_path: Path) -> None:
    copy = save("bert", tmp_path)
    before = fingerprint(str(copy))
    assert before == fingerprint(str(folder))
    tensors = load_file(copy / "model.safetensors")
    next(iter(tensors.values())).view(-1)[-1] += 1
    save_file(tensors, copy / "model.safetensors", metadata={"format": "pt"})
    assert fingerprint(str(copy)) != before


def test_tokens_added_to_a_vocabulary_change_the_fingerprint(folder: Path, tmp_path: Path) -> None:
    copy = save("bert", tmp_path)
    (copy / "notes.json").write_text("{}")
    assert fingerprint(str(copy)) == fingerprint(str(folder))
    (copy / "added_tokens.json").write_text('{"newtown": 300}')
    assert fingerprint(str(copy)) != fingerprint(str(folder))


def test_a_folder_that_is_no_model_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such folder"):
        fingerprint("./absent")
    with pytest.raises(UsageError, match="holds no weights"):
        fingerprint(str(tmp_path))
    assert states_width(str(folder)) == WIDTH
    (tmp_path / "model.safetensors").touch()
    (tmp_path / "config.json").write_text(json.dumps({"wide": 3}))
    with pytest.raises(UsageError, match="does not say how wide its states are"):
        states_width(str(tmp_path))
