"""Held-out samples decoded during training change no weight and may end it; a kill changes nothing of that."""

import json
import logging
import os
import re
import signal
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from retrieval_gap.decoding.evaluation import Tally
from retrieval_gap.experiments.trained import run as experiments_run
from retrieval_gap.experiments.trained.alone import LINES, Watch, run_one
from retrieval_gap.experiments.trained.config import RunConfig
from retrieval_gap.experiments.trained.rows import read_tally
from retrieval_gap.experiments.trained.run import Listener
from retrieval_gap.machine.errors import UsageError
from retrieval_gap.machine.stopping import StoppedError
from retrieval_gap.runs.directory import RunDirectory
from retrieval_gap.runs.experiment import Row, RunOptions
from retrieval_gap.training.loop import StepReport
from tests.training.runs import execute, run_ranked

CONFIG = RunConfig(
    task="associative_recall",
    mode="direct",
    n=8,
    arch="lstm",
    size="tiny",
    embedding="learned",
    samples=640,
    batch_size=16,
    lr=3e-3,
    warmup_samples=64,
    eval_samples=40,
)
TIMES = ("wall_s", "tokens_per_s", "samples_per_s")


def reports(config: RunConfig, runs_dir: Path) -> list[dict[str, Any]]:
    return RunDirectory.of(config, runs_dir).reports()


def timeless(row: Row) -> Row:
    return {key: value for key, value in row.items() if key not in TIMES}


@pytest.fixture(scope="module")
def looked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    """The folder of a run that was evaluated ten times during training, and the reports of these evaluations."""
    folder, config = tmp_path_factory.mktemp("looked"), replace(CONFIG, eval_every=64)
    execute(config, folder)
    return folder, [told for told in reports(config, folder) if "accuracy" in told]


def test_accuracy_during_training_is_in_the_reports_and_changes_no_weight(
    looked: tuple[Path, list[dict[str, Any]]], tmp_path: Path
) -> None:
    folder, seen = looked
    assert [told["samples"] for told in seen] == list(range(64, 641, 64))
    assert all(0 <= told["exact_trace"] <= 1 and 0 <= told["accuracy"] <= 1 for told in seen)
    assert len({told["accuracy"] for told in seen}) > 1  # each evaluation is of the model at that moment
    execute(CONFIG, tmp_path)
    plain, watched = (load_file(RunDirectory.of(CONFIG, place).checkpoint) for place in (tmp_path, folder))
    assert all(plain[name].equal(watched[name]) for name in plain)
    assert not any("accuracy" in told for told in reports(CONFIG, tmp_path))


def test_a_runs_hash_changes_only_if_its_training_may_end_early() -> None:
    assert CONFIG.hash() == "05660fdc156a"  # as before this option existed: directories keep their names
    assert replace(CONFIG, eval_every=64).hash() == CONFIG.hash()
    early = replace(CONFIG, stop_at=0.9)
    assert early.hash() != CONFIG.hash()
    assert replace(early, eval_every=32).hash() == early.hash()  # the default, a twentieth of the samples
    assert replace(early, eval_every=64).hash() != early.hash()


def stopping(seen: list[dict[str, Any]]) -> tuple[RunConfig, int]:
    """A run that stops before its end, and the number of samples that it is trained on."""
    best = max(told["accuracy"] for told in seen[:-1])
    first = next(told["samples"] for told in seen if told["accuracy"] >= best)
    return replace(CONFIG, eval_every=64, stop_at=best), first


def test_training_ends_at_the_wanted_accuracy_and_the_row_says_after_how_many_samples(
    looked: tuple[Path, list[dict[str, Any]]], tmp_path: Path
) -> None:
    config, samples = stopping(looked[1])
    row = execute(config, tmp_path)
    assert row["samples"] == samples < config.samples
    assert reports(config, tmp_path)[-1]["samples"] == samples
    assert config.shown_values(row)["trained"] == f"{samples:,}"
    assert "trained" not in CONFIG.shown_values(row | {"samples": CONFIG.samples})
    assert "--stop-at" in config.command()
    assert "--stop-at" not in CONFIG.command()


def test_a_run_that_never_reaches_the_accuracy_is_trained_to_its_end(tmp_path: Path) -> None:
    assert execute(replace(CONFIG, samples=160, stop_at=1.0), tmp_path)["samples"] == 160


@pytest.mark.parametrize("at_report", [1, 5, None], ids=["before", "between", "with the last step"])
def test_a_kill_does_not_change_an_early_end(
    at_report: int | None, looked: tuple[Path, list[dict[str, Any]]], tmp_path: Path
) -> None:
    config, samples = stopping(looked[1])
    whole = execute(config, tmp_path / "whole")
    count = 0

    def kill(told: StepReport) -> None:
        nonlocal count
        count += 1
        if count == at_report or (at_report is None and told.samples == samples):
            os.kill(os.getpid(), signal.SIGTERM)

    if at_report is None:  # the signal comes at the last step: nothing is left to stop
        execute(config, tmp_path / "parts", listener=Listener(report=kill))
    else:
        with pytest.raises(StoppedError):
            execute(config, tmp_path / "parts", listener=Listener(report=kill))
    assert timeless(execute(config, tmp_path / "parts")) == timeless(whole)
    one, other = (load_file(RunDirectory.of(config, tmp_path / part).checkpoint) for part in ("whole", "parts"))
    assert all(one[name].equal(other[name]) for name in one)
    accuracies = [[told.get("accuracy") for told in reports(config, tmp_path / part)] for part in ("whole", "parts")]
    assert accuracies[0] == accuracies[1]


def test_an_early_end_is_kept_when_the_evaluation_is_stopped_and_resumed(
    looked: tuple[Path, list[dict[str, Any]]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, samples = stopping(looked[1])
    whole = execute(config, tmp_path / "whole")
    monkeypatch.setattr(experiments_run, "_decode_batch", lambda model, task: 7)
    inner = experiments_run.write_tally

    def count_and_fall(run: RunDirectory, tally: Tally) -> None:
        inner(run, tally)
        raise KeyboardInterrupt

    monkeypatch.setattr(experiments_run, "write_tally", count_and_fall)
    for done in (7, 14):
        with pytest.raises(KeyboardInterrupt):
            execute(config, tmp_path / "parts")
        run = RunDirectory.of(config, tmp_path / "parts")
        assert read_tally(run).samples == done
        assert config.progress(run).doing.startswith("decoding")
    monkeypatch.setattr(experiments_run, "write_tally", inner)
    assert timeless(execute(config, tmp_path / "parts")) == timeless(whole)
    assert whole["samples"] == samples


@pytest.mark.faults
def test_ranks_stop_together(looked: tuple[Path, list[dict[str, Any]]], tmp_path: Path) -> None:
    config, samples = stopping(looked[1])
    row = run_ranked(config, tmp_path, 2)
    assert row is not None
    assert row["samples"] == samples


@pytest.mark.parametrize("changed", [{"stop_at": 1.5}, {"stop_at": float("nan")}, {"eval_every": -1}])
def test_impossible_values_are_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="out of range"):
        replace(CONFIG, **changed)


def test_plain_lines_are_few_and_carry_the_last_accuracy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_one(replace(CONFIG, eval_every=16), RunOptions(runs_dir=tmp_path, threads=1))
    lines = [line for line in capsys.readouterr().err.splitlines() if "samples/s" in line]
    assert len(lines) == LINES
    assert all(re.search(r"loss \d.*samples/s.*accuracy \d\.\d{3}$", line) for line in lines)


def told(samples: int, samples_per_s: float, accuracy: float | None = None) -> StepReport:
    return StepReport(
        step=samples, samples=samples, loss=1.0, lr=1e-3, samples_per_s=samples_per_s, tokens_per_s=1.0, padding=0.0,
        gpu_wait=None, micro_batch=1, accuracy=accuracy,
    )  # fmt: skip


def test_the_time_left_does_not_jump_with_one_slow_report_nor_count_the_compilation() -> None:
    # 60 s of compilation before the first report, then 1 s for each, except one that takes 20 s more.
    moments = [60.0 + i + (20.0 if i > 50 else 0.0) for i in range(100)]
    clock = iter(moments)
    watch = Watch(10_000, lambda: next(clock))
    lines = [watch.told(told(100 * (i + 1), 5.0 if i == 51 else 100.0)) for i in range(100)]
    assert lines[0].startswith("loss")
    found = [m for line in lines[1:] if (m := re.match(r"(\S+) (s|min) left", line))]
    left = [float(m[1]) * {"s": 1, "min": 60}[m[2]] for m in found]
    assert left[0] == 98
    assert left[-1] == 1
    assert lines[-1].startswith("decoding")
    # By its own pace, a twentieth of the usual, the slow report would say 16 minutes.
    assert all(abs(after - before) <= 20 for before, after in pairwise(left))


def test_the_pace_of_a_long_run_is_shown_before_its_first_report() -> None:
    clock = iter([5.0, 5.5, 15.0, 16.0])
    watch = Watch(1_000_000, lambda: next(clock))
    lines = [watch.at(samples) for samples in (100, 150, 1_100)]
    assert lines == ["starting", "starting", "2.8 h left  100 samples/s"]
    assert watch.told(told(1_200, 100.0)).startswith("2.8 h left  loss 1.0000  100 samples/s")


def test_the_last_accuracy_stays_in_the_line() -> None:
    watch = Watch(1_000)
    assert "accuracy" not in watch.told(told(100, 1.0))
    assert watch.told(told(200, 1.0, 0.25)).endswith("accuracy 0.250")
    assert watch.told(told(300, 1.0)).endswith("accuracy 0.250")


def test_a_first_loss_far_above_guessing_is_reported_in_one_line_with_what_to_try(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    paper = replace(CONFIG, embedding="sinusoidal", samples=32, warmup_samples=16, eval_samples=4)
    with caplog.at_level(logging.WARNING):
        execute(paper, tmp_path)
        execute(replace(CONFIG, samples=32, warmup_samples=16, eval_samples=4), tmp_path)
    (line,) = [record.getMessage() for record in caplog.records if "first loss" in record.getMessage()]
    assert re.search(r"first loss is \d+\.\d, and guessing among \d+ tokens has \d\.\d", line)
    assert "--embedding learned" in line
    assert "\n" not in line


def test_metrics_of_a_run_without_validation_keep_their_names(tmp_path: Path) -> None:
    execute(replace(CONFIG, samples=32, warmup_samples=16, eval_samples=4), tmp_path)
    (path,) = tmp_path.glob("*/metrics.jsonl")
    names = "step samples loss lr samples_per_s tokens_per_s padding gpu_wait micro_batch wall_s"
    assert list(json.loads(path.read_text().split("\n")[0])) == names.split()
