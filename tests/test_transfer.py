"""Runs on other families: every sample is in one class, and all together are what `eval` says."""

import csv
import json
from pathlib import Path

import pytest

from retrieval_gap.cli import main

TRAIN = "train --task istree --mode direct --n-nodes 6 --arch lstm --size tiny --samples 64 --batch-size 8".split()
TRAIN += "--warmup-samples 8 --eval-samples 50 --threads 1".split()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("runs")
    assert main([*TRAIN, "--keep-weights", "--runs-dir", str(runs)]) == 0
    (run,) = runs.iterdir()
    return run


def test_the_classes_of_a_familys_samples_make_up_the_accuracy_that_eval_prints(
    run: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    capsys.readouterr()
    assert main(["transfer", str(run), "--csv", str(tmp_path / "t.csv")]) == 0
    with (tmp_path / "t.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["tested_on"] for row in rows} == {"two_star", "random_tree", "path_like"}
    assert {row["family"] for row in rows} == {"two_star"}
    capsys.readouterr()
    assert main(["eval", str(run)]) == 0
    told = json.loads(capsys.readouterr().out)
    own = [row for row in rows if row["tested_on"] == "two_star"]
    assert sorted(row["answer"] for row in own) == ["[FALSE]", "[TRUE]"]
    assert sum(int(row["eval_samples"]) for row in own) == 50
    right = sum(float(row["accuracy"]) * int(row["eval_samples"]) for row in own)
    assert right / 50 == pytest.approx(told["accuracy"])


def test_wrong_use_is_one_line(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    for words, said in (
        ([str(run), "--families", "path_lik"], "did you mean 'path_like'"),
        ([], "one run directory or more"),
        ([str(run), "--samples", "-1"], "--samples -1"),
    ):
        assert main(["transfer", *words]) == 2
        told = capsys.readouterr().err
        assert said in told
        assert told.count("\n") == 1
