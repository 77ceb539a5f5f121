"""A GGUF file gives the states of the folder that it was made from."""

from pathlib import Path

import numpy as np
import pytest
import torch

from retrieval_gap.llm import gguf as files
from retrieval_gap.llm.embeddings import StatesConfig
from retrieval_gap.llm.embeddings.config import fingerprint, states_width
from retrieval_gap.llm.embeddings.reader import StateReader
from retrieval_gap.machine.errors import RunError, UsageError
from tests.llm.embeddings.tiny import WIDTH, save
from tests.llm.gguf_file import write_llama

gguf = pytest.importorskip("gguf", reason="gguf comes with the extra `models`")
pytest.importorskip("accelerate", reason="accelerate comes with the extra `pretrained`")
TEXTS = ["Club 3 plays chess", "So the answer is: Town 7."]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save("llama", tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="module")
def file(folder: Path) -> Path:
    return write_llama(folder, folder / "tiny.gguf")


def test_states_are_those_of_the_folder(folder: Path, file: Path) -> None:
    read = [StateReader(StatesConfig(model=str(path), precision="fp32")).read(TEXTS) for path in (folder, file)]
    for theirs, ours in zip(*read, strict=True):
        torch.testing.assert_close(ours.states_LxD, theirs.states_LxD, atol=1e-4, rtol=1e-4)
        assert ours.word_L.tolist() == theirs.word_L.tolist()
    assert states_width(str(file)) == WIDTH


def test_the_fingerprint_of_a_file_depends_on_its_content_alone(file: Path, tmp_path: Path) -> None:
    copy = tmp_path / file.name
    content = bytearray(file.read_bytes())
    copy.write_bytes(content)
    assert fingerprint(str(copy)) == fingerprint(str(file))
    content[-1] ^= 1
    copy.write_bytes(content)
    assert fingerprint(str(copy)) != fingerprint(str(file))


def test_a_missing_or_unreadable_file_and_a_missing_package_are_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match=r"absent.gguf: no such file"):
        fingerprint(str(tmp_path / "absent.gguf"))
    bad = tmp_path / "bad.gguf"
    bad.write_bytes(np.arange(100).tobytes())
    with pytest.raises(RunError, match=r"bad.gguf does not load"):
        states_width(str(bad))
    monkeypatch.setattr(files, "find_spec", lambda name: None)
    with pytest.raises(RunError, match=r"gguf is not installed: pip install 'retrieval-gap\[models\]'"):
        states_width(str(bad))
