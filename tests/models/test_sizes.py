"""A size is a name and changes of its dimensions, such as tiny+d_hidden=3."""

from pathlib import Path

import pytest

from retrieval_gap.experiments.trained.config import RunConfig
from retrieval_gap.machine.errors import UsageError
from retrieval_gap.models import ModelConfig, SequenceModel, architecture
from retrieval_gap.models.lstm import LSTM


def test_a_dimension_is_changed_by_name() -> None:
    assert architecture("lstm", "tiny+d_hidden=3+n_layers=1") == LSTM(d_model=64, n_layers=1, d_hidden=3)


def test_the_bits_of_a_narrow_state_are_counted() -> None:
    model = SequenceModel(ModelConfig(architecture=architecture("lstm", "tiny+d_hidden=3+n_layers=1"), vocab_size=9))
    assert model.state_bits(length=50) == 2 * 3 * 32


@pytest.mark.parametrize(
    ("size", "told"),
    [
        ("tiny+d_hiden=3", "d_hidden"),
        ("tiny+d_hidden=0", "1 to 1,048,576"),
        ("tiny+d_hidden=-1", "1 to 1,048,576"),
        ("tiny+d_hidden", "1 to 1,048,576"),
        ("tiny+", "choose from"),
        ("tinny+d_hidden=3", "tiny"),
        ("tiny+d_hidden=8+d_hidden=16", "d_hidden is changed twice"),
    ],
)
def test_an_invalid_size_is_refused_in_one_line(size: str, told: str) -> None:
    with pytest.raises(UsageError, match=told) as raised:
        architecture("lstm", size)
    assert "\n" not in str(raised.value)


STACK = """
from dataclasses import dataclass
from retrieval_gap.models.lstm import LSTM

{declared}
class Stack:
    d_model = 16
    {field}
    def layers(self):
        return LSTM(d_model=16, n_layers=1).layers()

SIZES = {{"tiny": Stack()}}
"""


@pytest.mark.parametrize(
    ("declared", "field", "told"),
    [
        ("", "", "is not a dataclass"),
        ("@dataclass", "width: int = 4", "is a dataclass that can change"),
        ("@dataclass(frozen=True)", "act: object = abs", "has a field act that is not a number, text"),
        ("@dataclass(frozen=True)", "sizes: tuple = (1, object())", "has a field sizes that is not a number, text"),
    ],
)
def test_an_architecture_whose_hash_would_differ_between_processes_is_refused(
    tmp_path: Path, declared: str, field: str, told: str
) -> None:
    file = tmp_path / "mine.py"
    file.write_text(STACK.format(declared=declared, field=field))
    with pytest.raises(UsageError, match=rf"mine\.py: SIZES\['tiny'\] {told}.*\(a run is named by the values"):
        architecture(str(file), "tiny")


def test_an_architecture_of_plain_values_is_accepted(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(STACK.format(declared="@dataclass(frozen=True)", field="sizes: tuple = (1, (None, 'a', 0.5))"))
    assert architecture(str(file), "tiny").d_model == 16


def test_a_shape_that_cannot_be_built_is_refused() -> None:
    with pytest.raises(UsageError, match="heads"):
        architecture("transformer", "tiny+n_heads=5")


def test_the_same_shape_is_the_same_run_however_it_is_written() -> None:
    def run(size: str) -> RunConfig:
        return RunConfig(task="istree", mode="cot", n=8, arch="lstm", size=size)

    assert run("tiny+d_model=32").hashed_values()["shape"] == run("tiny+d_model=32+n_layers=3").hashed_values()["shape"]
    assert run("tiny+d_hidden=8").hashed_values()["shape"] != run("tiny").hashed_values()["shape"]
