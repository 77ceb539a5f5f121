"""The examples of CONTRIBUTING.md work as written, and the commands and links of the README exist."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from retrieval_gap.cli import main
from retrieval_gap.commands import COMMANDS
from retrieval_gap.models import ModelConfig, SequenceModel, architecture
from retrieval_gap.tasks.api import TaskConfig
from retrieval_gap.tasks.registry import load_task

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
ARCHITECTURE, TASK, *_ = re.findall(r"```python\n(.*?)```", CONTRIBUTING, re.S)


@pytest.fixture
def written(tmp_path: Path) -> tuple[Path, Path]:
    task, arch = tmp_path / "parity.py", tmp_path / "mingru.py"
    task.write_text(TASK)
    arch.write_text(ARCHITECTURE)
    return task, arch


def test_both_examples_stay_under_forty_lines() -> None:
    assert TASK.count("\n") < 40
    assert ARCHITECTURE.count("\n") < 40


def test_the_example_task_and_architecture_train_together(
    written: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task, arch = (str(path) for path in written)
    assert main(["sample", task, "--n", "8", "--count", "2"]) == 0
    assert capsys.readouterr().out.count("[BOS]") == 2
    train = f"train --task {task} --mode direct --n 8 --arch {arch} --size tiny --samples 64 --warmup-samples 8"
    flags = f" --batch-size 8 --eval-samples 8 --threads 1 --runs-dir {tmp_path}"
    assert main((train + flags).split()) == 0


def test_the_example_task_keeps_the_contract(written: tuple[Path, Path]) -> None:
    make = load_task(str(written[0]))
    problems = {}
    for split in ("train", "validation", "test"):
        task = make(TaskConfig(n=10, split=split))  # type: ignore[arg-type]
        batch = task.sample(np.arange(50))
        assert (task.sample(np.array([7])).tokens_BxL == batch.tokens_BxL[7]).all()
        assert batch.loss_mask_BxL.sum() == 50
        problems[split] = {row.tobytes() for row in batch.tokens_BxL}
    assert not problems["train"] & problems["test"]


def test_the_example_architecture_keeps_the_protocol(written: tuple[Path, Path]) -> None:
    model = SequenceModel(ModelConfig(architecture=architecture(str(written[1]), "tiny"), vocab_size=12))
    tokens = torch.randint(0, 12, (2, 9), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits, (last, state) = model(tokens), model.prefill(tokens[:, :5])
        for t in range(5, 9):
            last, state = model.step(tokens[:, t], state)
    torch.testing.assert_close(last, logits[:, -1])


def test_every_command_and_link_of_the_readme_exists() -> None:
    for command in re.findall(r"^retrieval-gap (\w+)", README, re.M):
        assert command in COMMANDS
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"\bmake ([\w-]+)", README):
        assert target in {"target", "nothing"} or re.search(rf"^{target}:", makefile, re.M), target
