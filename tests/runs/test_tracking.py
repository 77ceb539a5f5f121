"""Trackers get the numbers of metrics.jsonl; none is required, and none uploads anything."""

import json
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from retrieval_gap.cli import main
from retrieval_gap.experiments.trained.run import Listener
from retrieval_gap.machine.stopping import StoppedError
from retrieval_gap.runs.directory import RunDirectory
from retrieval_gap.runs.tracking import LogName
from retrieval_gap.training.loop import StepReport
from tests.training.runs import execute
from tests.training.test_loop import CONFIG

SHORT = replace(CONFIG, mode="direct", arch="lstm", samples=160, eval_samples=10)


def stop_at_seven(told: StepReport) -> None:
    if told.step == 7:
        os.kill(os.getpid(), signal.SIGTERM)


def told_by_hand(run: RunDirectory, key: str) -> list[tuple[int, float]]:
    return [(told["samples"], told[key]) for told in map(json.loads, run.metrics.read_text().splitlines())]


def test_tensorboard_has_every_report_once_even_if_the_run_was_stopped(tmp_path: Path) -> None:
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="tensorboard is not installed"
    )
    with pytest.raises(StoppedError):
        execute(SHORT, tmp_path, listener=Listener(report=stop_at_seven), log="tensorboard")
    row = execute(SHORT, tmp_path, log="tensorboard")
    run = RunDirectory.of(SHORT, tmp_path)
    events = accumulator.EventAccumulator(str(run.path / "tensorboard"))
    events.Reload()
    for key in ("loss", "lr"):
        told = [(event.step, event.value) for event in events.Scalars(key)]
        assert told == [(samples, pytest.approx(value)) for samples, value in told_by_hand(run, key)]
    assert [event.value for event in events.Scalars("evaluation/accuracy")] == pytest.approx([row["accuracy"]])


@pytest.mark.parametrize("log", ["trackio", "wandb"])
def test_trackio_and_wandb_get_the_calls_they_expect_and_stay_offline(
    log: LogName, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stand-ins with the calls of the packages, which are too heavy for a test."""
    calls: dict[str, Any] = {"log": [], "finish": 0}

    def tell(numbers: dict[str, float], *, step: int) -> None:
        calls["log"].append((step, numbers))

    def finish() -> None:
        calls["finish"] += 1

    def init(**options: Any) -> SimpleNamespace:
        calls["init"] = options
        return SimpleNamespace(log=tell, finish=finish)

    monkeypatch.setitem(sys.modules, log, SimpleNamespace(init=init, log=tell, finish=finish, __spec__=object()))
    execute(SHORT, tmp_path, log=log)
    run = RunDirectory.of(SHORT, tmp_path)
    assert [(step, numbers["loss"]) for step, numbers in calls["log"][:-1]] == told_by_hand(run, "loss")
    assert calls["log"][-1][0] == 160
    assert "evaluation/accuracy" in calls["log"][-1][1]
    assert calls["finish"] == 1
    assert (calls["init"]["project"], calls["init"]["name"]) == ("retrieval-gap", run.path.name)
    assert calls["init"].get("mode") == ("offline" if log == "wandb" else None)
    assert calls["init"].get("space_id") is None


@pytest.mark.parametrize(
    "command", ["train --task istree --mode cot --n-nodes 6 --arch lstm --size tiny", "sweep demo"]
)
def test_a_missing_package_is_an_error_of_one_line(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *_: None)
    assert main([*command.split(), "--log", "wandb", "--runs-dir", str(tmp_path / "runs")]) == 2
    assert capsys.readouterr().err == "retrieval-gap: --log wandb needs the package wandb: pip install wandb\n"
    assert not (tmp_path / "runs").exists()


def test_a_tracker_that_fails_does_not_stop_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OSError("No space left on device")

    stand_in = SimpleNamespace(init=lambda **_: SimpleNamespace(log=fail, finish=fail))
    monkeypatch.setitem(sys.modules, "wandb", stand_in)
    monkeypatch.setattr("retrieval_gap.runs.tracking.check_tracker", lambda log: None)
    assert execute(SHORT, tmp_path, log="wandb")["samples"] == 160
    (line,) = [record.getMessage() for record in caplog.records if "--log wandb failed" in record.getMessage()]
    assert "No space left on device" in line
