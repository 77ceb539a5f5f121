"""The lists and the help of flags name every task and architecture."""

import pytest

from retrieval_gap.cli import main
from retrieval_gap.models import ARCHITECTURES
from retrieval_gap.tasks.registry import task_names


@pytest.mark.parametrize(("command", "names"), [("tasks", task_names()), ("archs", tuple(ARCHITECTURES))])
def test_the_lists_name_what_can_be_loaded(command: str, names: tuple[str, ...], capsys: pytest.CaptureFixture[str]):
    main([command])
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert listed[:-1] == sorted(names)
    assert listed[-1] == f"--{command[:-1]}"


def test_the_help_of_train_names_every_task_and_architecture(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    words = set(capsys.readouterr().out.replace("(", " ").replace(")", " ").replace(",", " ").split())
    assert {*task_names(), *ARCHITECTURES} <= words
