"""`retrieval-gap heads` reuses finished runs and reports wrong use in one line."""

from pathlib import Path

import pytest

from retrieval_gap.cli import main
from tests.llm.embeddings.tiny import save

QUICK = "--n 16 --samples 40 --test-samples 20 --parameters 9000 --lr 1e-2 --steps 10 --seeds 1 --workers 1".split()


def test_the_same_command_again_reads_the_finished_runs(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    model = str(save("bert", tmp_path / "model"))
    words = ["heads", "run", "which_came_first", "--model", model, "--head", "attention,gru", *QUICK]
    words += ["--runs-dir", str(tmp_path / "runs")]
    assert main(words) == 0
    first = capfd.readouterr().out
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").glob("*/result.json")}
    assert len(times) == 2
    assert "head attention" in first
    assert main(words) == 0
    again = capfd.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in times} == times
    table = "dataset"
    assert again[again.index(table) :] == first[first.index(table) :]
    csv = tmp_path / "heads.csv"
    assert main(["heads", "table", "--runs-dir", str(tmp_path / "runs"), "--csv", str(csv)]) == 0
    assert len(csv.read_text().splitlines()) == 3


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run", "topic", "--model", "./absent", "--head", "mean"], "model ./absent: no such folder"),
        (["run", "topic", "--model", "./absent", "--head", ","], "--head names no head"),
        (["run", "topic", "--model", "./absent", "--head", "mean", "--seeds", "0"], "--seeds 0 is out of range"),
        (["run", "topic", "--model", "x", "--head", "mean", "--window", "1.5"], "--window 1.5 is invalid"),
        (["run", "topics", "--model", "./absent", "--head", "mean"], "did you mean 'topic'"),
        (["table", "--runs-dir", "./absent"], "absent is not a folder of runs"),
    ],
)
def test_wrong_use_is_told_in_one_line(words: list[str], said: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["heads", *words]) == 2
    told = capfd.readouterr().err.strip()
    assert said in told
    assert "\n" not in told
