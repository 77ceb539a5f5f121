"""`transfer` tests a run on other families, sizes and options; its numbers agree with those of `eval`."""

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


def test_the_accuracies_of_a_familys_classes_average_to_that_of_eval(
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
    assert main(["transfer", str(run), "--families", "two_star"]) == 0
    pooled, *each = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]
    assert (pooled[2], float(pooled[3]), pooled[-1]) == ("all", pytest.approx(told["accuracy"], abs=5e-4), "50")
    assert sorted(line[2] for line in each) == ["[FALSE]", "[TRUE]"]


def test_open_answers_are_tested_at_other_sizes_and_options(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    flags = "--mode cot --arch lstm --size tiny --samples 16 --batch-size 8 --warmup-samples 8 --eval-samples 9"
    words = f"train --task hotpotqa --n-paragraphs 4 --facts 2 --names 6 --vocab 300 {flags} --threads 1 --keep-weights"
    assert main([*words.split(), "--runs-dir", str(tmp_path / "runs")]) == 0
    (run,) = (tmp_path / "runs").iterdir()
    words = f"transfer {run} --n 2,4 --samples 5 --csv {tmp_path / 't.csv'}"
    words += " --change order=last variant=distance sentence_tokens=64,48"
    assert main(words.split()) == 0
    with (tmp_path / "t.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    told = [(row["n"], row["tested_n"], row["tested_options"].split()[3:9], row["eval_samples"]) for row in rows]
    same = ["fewest=0", "sentences=0"]
    assert told == [  # 64 tokens are the run's own, and not tested twice
        ("4", n, [f"order={order}", "distractors=own", f"variant={variant}", *same, f"sentence_tokens={tokens}"], "5")
        for tokens, order, variant in (
            (64, "random", "plain"),
            (64, "last", "plain"),
            (64, "random", "distance"),
            (48, "random", "plain"),
        )
        for n in ("2", "4")
    ]
    capsys.readouterr()
    assert main(["eval", str(run), "--samples", "5"]) == 0
    own = json.loads(capsys.readouterr().out)
    for name in ("accuracy", "exact_trace", "undecided"):
        assert float(rows[1][name]) == own[name]


def test_a_run_with_spare_node_names_is_tested_on_larger_graphs(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main([*TRAIN, "--names", "9", "--keep-weights", "--runs-dir", str(tmp_path / "runs")]) == 0
    (run,) = (tmp_path / "runs").iterdir()
    words = f"transfer {run} --n 6,9 --families path_like,two_star --samples 20 --csv {tmp_path / 't.csv'}"
    assert main(words.split()) == 0
    with (tmp_path / "t.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {(row["n"], row["tested_n"], row["options"], row["tested_options"]) for row in rows} == {
        ("6", "6", "names=9", "names=9"),
        ("6", "9", "names=9", ""),
    }
    for size in ("6", "9"):
        of_size = [row for row in rows if row["tested_n"] == size]
        assert sum(int(row["eval_samples"]) for row in of_size) == 40
    assert main(["transfer", str(run), "--n", "10"]) == 2
    assert "--names 9 is outside 10..1024" in capsys.readouterr().err


def test_wrong_use_is_one_line(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    for words, said in (
        ([str(run), "--families", "path_lik"], "did you mean 'path_like'"),
        ([], "one run directory or more"),
        ([str(run), "--samples", "-1"], "--samples -1"),
        ([str(run), "--n", "6,8"], "cannot be tested on n = 8"),
        ([str(run), "--n", "six"], "--n six"),
        ([str(run), "--change", "order=last"], "unknown option 'order'"),
    ):
        assert main(["transfer", *words]) == 2
        told = capsys.readouterr().err
        assert said in told
        assert told.count("\n") == 1
