"""A size is a name, and what is changed after it."""

import pytest

from retrieval_gap.experiments.trained.config import RunConfig
from retrieval_gap.machine.errors import UsageError
from retrieval_gap.models import ModelConfig, SequenceModel, architecture
from retrieval_gap.models.lstm import LSTM


def test_a_dimension_is_changed_by_name() -> None:
    assert architecture("lstm", "tiny+d_hidden=3+n_layers=1") == LSTM(d_model=64, n_layers=1, d_hidden=3)


def test_a_narrow_state_is_counted_as_it_is() -> None:
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
    ],
)
def test_a_size_that_will_not_do_is_told_in_one_line(size: str, told: str) -> None:
    with pytest.raises(UsageError, match=told) as raised:
        architecture("lstm", size)
    assert "\n" not in str(raised.value)


def test_a_shape_that_cannot_be_built_is_told_in_one_line() -> None:
    with pytest.raises(UsageError, match="heads"):
        architecture("transformer", "tiny+n_heads=5")


def test_the_same_shape_is_the_same_run_however_it_is_written() -> None:
    def run(size: str) -> RunConfig:
        return RunConfig(task="istree", mode="cot", n=8, arch="lstm", size=size)

    assert run("tiny+d_model=32").canonical()["shape"] == run("tiny+d_model=32+n_layers=3").canonical()["shape"]
    assert run("tiny+d_hidden=8").canonical()["shape"] != run("tiny").canonical()["shape"]
