"""The command line: what it prints, and one line with the right status for every wrong use."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from retrieval_gap.cli import main

TRAIN = "train --task istree --mode cot --n-nodes 5 --arch lstm --size tiny --samples 64 --batch-size 8".split()
TRAIN += "--warmup-samples 8 --eval-samples 10 --threads 1".split()


def failure(argv: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Exit status and the one line on standard error."""
    status = main(argv)
    told = capsys.readouterr()
    assert told.err.endswith("\n")
    assert told.err.count("\n") == 1, told.err
    return status, told.err


WRONG_USES = [
    ("", "sample"),
    ("sampel istree", "sampel"),
    ("sample", "TASK"),
    ("sample istree", "n-nodes"),
    ("sample istre --n-nodes 8", "did you mean 'istree'"),
    ("sample istree --n-nodes eight", "--n-nodes"),
    ("sample istree --n-nodes 3", "n = 3"),
    ("sample istree --n-nodes -1", "-1"),
    ("sample istree --n-nodes 8 --mode cott", "cott"),
    ("sample istree --n-nodes 8 --family two_stars", "did you mean 'two_star'"),
    ("sample istree --n-nodes 8 --split dev", "dev"),
    ("sample istree --n-nodes 8 --seed -1", "seed"),
    ("sample istree --n-nodes 8 --count -1", "--count"),
    ("sample istree --n-nodes 8 --format yaml", "yaml"),
    ("sample index --n 8 --mode cot", "cot"),
    ("sample absent.py --n 8", "absent.py"),
    ("train --task istree --mode cot --n-nodes 8 --arch mamba2 --size tiny", "did you mean 'mamba'"),
    ("train --task istree --mode cot --n-nodes 8 --arch mamba --size 3m", "3m"),
    ("train --task istree --mode cot --n-nodes 8 --arch mamba --size tiny --samples 0", "samples = 0"),
    ("train --task istree --mode cot --n-nodes 8 --arch mamba --size tiny --batch-size 0", "batch_size = 0"),
    ("train --task istree --mode cot --n-nodes 8 --arch mamba --size tiny --lr nan", "lr = nan"),
    (
        "train --task istree --mode cot --n-nodes 8 --arch mamba --size tiny --eval-samples 0",
        "eval_samples = 0",
    ),
    ("train --task istree --mode cot --n-nodes 8 --arch mamba --size tiny --threads -2", "threads"),
    ("train --task istree --mode cot --n-nodes 8 --arch absent.py --size tiny", "absent.py"),
    (
        "train --task istree --mode cot --n-nodes 8 --arch mamba --size tiny --runs-dir /proc/nowhere",
        "/proc/nowhere",
    ),
    ("eval absent", "absent is no run directory"),
    ("eval absent --samples -3", "--samples -3"),
    ("sweep demoo", "did you mean 'demo'"),
    ("sweep demo --only arch=gru", "arch=gru"),
    ("sweep demo --only archs=lstm", "did you mean 'arch'"),
    ("sweep demo --max-minutes -1", "--max-minutes"),
    ("sweep demo --executor slurm", "slurm"),
    ("sweep demo --runs-dir /proc/nowhere", "/proc/nowhere"),
    ("results --runs-dir /dev/null", "no folder of runs"),
    ("results --runs-dir absent", "absent is no folder of runs"),
    ("plot fig22", "fig2"),
    ("plot fig2_istree --results absent.csv", "absent.csv"),
    ("bench scann", "did you mean 'scan'"),
    ("doctor --loud", "--loud"),
]


@pytest.mark.parametrize(("line", "told"), WRONG_USES)
def test_wrong_use_is_one_line_that_names_it_and_exits_2(
    line: str, told: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    status, text = failure(line.split(), capsys)
    assert status == 2
    assert told in text
    assert not list(tmp_path.iterdir()), "something was written"


def test_debug_shows_the_traceback() -> None:
    with pytest.raises(Exception, match="demoo"):
        main("sweep demoo --debug".split())


def test_help_lists_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main("--help".split())
    assert stop.value.code in (0, None)
    told = capsys.readouterr().out
    for command in ("sample", "train", "eval", "sweep", "results", "plot", "bench", "doctor"):
        assert command in told


def test_sample_prints_the_worked_format(capsys: pytest.CaptureFixture[str]) -> None:
    assert main("sample istree --mode rag --n-nodes 6 --count 2 --seed 1 --format jsonl".split()) == 0
    first, second = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert list(first) == ["prompt", "target", "loss_mask", "answer", "edges", "family", "split", "index"]
    assert (first["index"], second["index"], first["split"], first["family"]) == (0, 1, "train", "two_star")
    assert first["answer"] in ("TRUE", "FALSE")
    assert first["target"][-2:] == ["[EOS]", f"[{first['answer']}]"]
    assert [word for edge in first["edges"] for word in (str(edge[0]), "-", str(edge[1]))] == first["prompt"][1:-1]
    asked = [i for i, word in enumerate(first["target"]) if word == "[ENDSEARCH]"]
    assert [i - 1 for i, graded in enumerate(first["loss_mask"]) if not graded] == asked


def test_samples_do_not_depend_on_where_one_starts(capsys: pytest.CaptureFixture[str]) -> None:
    main("sample istree --mode cot --n-nodes 9 --count 300".split())
    every = capsys.readouterr().out.splitlines()
    main("sample istree --mode cot --n-nodes 9 --count 3 --first 255".split())
    assert capsys.readouterr().out.splitlines() == every[255:258]


def test_train_then_eval_then_results(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main([*TRAIN, "--runs-dir", str(tmp_path)]) == 0
    row = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert row["eval_samples"] == 10
    (run,) = tmp_path.iterdir()
    for retriever in ("fast", "regex"):
        assert main(["eval", str(run), "--samples", "20", "--retriever", retriever]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["eval_samples"] == 20
    assert main(["results", "--runs-dir", str(tmp_path), "--csv", str(tmp_path / "rows.csv")]) == 0
    assert "1 done" in capsys.readouterr().out
    assert (tmp_path / "rows.csv").read_text().count("\n") == 2


def test_a_broken_run_directory_is_told_and_kept(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main([*TRAIN, "--runs-dir", str(tmp_path)]) == 0
    capsys.readouterr()
    (run,) = tmp_path.iterdir()
    config = run / "config.json"
    for broken, told in (
        ('{"task": "istree"', "config.json"),
        ('{"tsk": "istree"}', "did you mean 'task'"),
        ("[]", "config"),
    ):
        config.write_text(broken)
        status, text = failure(["eval", str(run)], capsys)
        assert status in (1, 2)
        assert told in text
        assert config.read_text() == broken


def test_a_closed_pipe_is_no_error() -> None:
    command = f"{sys.executable} -m retrieval_gap.cli sample istree --n-nodes 8 --count 5000 | head -n 1"
    told = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    assert told.stdout.startswith("[BOS]")
    assert told.stderr == ""


def test_doctor_names_the_backend_that_will_be_used(capsys: pytest.CaptureFixture[str]) -> None:
    assert main("doctor".split()) == 0
    told = capsys.readouterr().out
    assert "(will be used)" in told
    assert "2.1" in told  # torch's version
