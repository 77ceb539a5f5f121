"""launch/memory_8xa100.sh, with fakes of its programs, serves, asks and ends each model, and reports failures."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from retrieval_gap.cli import main
from tests.experiments.launching import LAUNCH, calls, fakes_in, launched

SCRIPT = LAUNCH / "memory_8xa100.sh"


@pytest.fixture
def fakes(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "data" / "weather").mkdir(parents=True)
    (tmp_path / "data" / "weather" / "seattle_newyork_daily.csv").write_text("")
    return fakes_in(tmp_path) | {"DATA": str(tmp_path / "data")}


def launch(fakes: dict[str, str], *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    return launched(["bash", str(SCRIPT), *words], fakes | more)


def test_floors_run_once_then_each_model_is_served_asked_and_ended(fakes: dict[str, str]) -> None:
    told = launch(fakes, "org/a,b", "--steps", "50")
    assert told.returncode == 0, told.stderr
    told_of = {name: [call for call in calls(fakes) if f" {name} " in call] for name in ("none", "org/a", "b")}
    assert [call.split()[3] for call in told_of["none"]] == ["recall", "weather"]
    for name in ("org/a", "b"):
        served, *asked = told_of[name]
        assert served.startswith(f"vllm serve {name} ")
        assert "--tensor-parallel-size 1" in served
        port = served.split("--port ")[1].split()[0]
        assert [call.split()[3] for call in asked] == ["recall", "weather"]
        for call in asked:
            assert f"--no-floors --model {name} --base-url http://127.0.0.1:{port}/v1 --tokenizer {name}" in call
            assert call.endswith(f"--runs-dir {fakes['RUNS']} --steps 50")
    assert calls(fakes).count("vllm ended") == 2
    assert [call.split()[1:3] for call in calls(fakes)[-3:]] == [
        ["memory", "table"], ["plot", "fig_memory"], ["plot", "fig_memory_bits"],
    ]  # fmt: skip
    assert "sp500/daily_2000_2020.csv is not there: without it" in told.stderr


def test_a_large_model_uses_all_gpus_and_others_wait_for_it(fakes: dict[str, str]) -> None:
    told = launch(fakes, "a,b", TENSOR_PARALLEL="8")
    assert told.returncode == 0, told.stderr
    assert told.stdout.count("CUDA_VISIBLE_DEVICES=0,1,2,3,4,5,6,7") == 2
    found = [call for call in calls(fakes) if call.startswith("vllm")]
    assert [" ".join(call.split()[1:3]) for call in found] == ["serve a", "ended", "serve b", "ended"]


def test_a_dry_run_calls_nothing(fakes: dict[str, str]) -> None:
    told = launch(fakes, "a", DRY="1")
    assert told.returncode == 0, told.stderr
    assert "vllm serve a " in told.stdout
    assert calls(fakes) == []
    assert not Path(fakes["RUNS"]).exists()


def test_the_commands_of_the_script_are_valid(
    fakes: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The program plans the script's commands for `recall` and for the floors."""
    told = launch(fakes, "a", DRY="1")
    lines = [line.split()[2:] for line in told.stdout.splitlines() if " memory run recall " in line]
    assert len(lines) == 2
    for words in lines:
        assert main([*words, "--dry-run"]) == 0
    planned = capsys.readouterr().out
    assert "recall-llm_as_rnn-a-b512-s4: 20 streams of 64 steps, 640 predictions" in planned
    assert "recall-transitions-s0" in planned
    assert "The first prompt:" in planned


def test_a_model_that_fails_keeps_neither_the_others_nor_the_table_back(fakes: dict[str, str]) -> None:
    told = launch(fakes, "bad,good")
    assert told.returncode == 1
    assert "vllm ended before it served bad" in told.stderr
    assert any("--model good " in call for call in calls(fakes))
    assert any("memory table" in call for call in calls(fakes))


def test_a_signal_ends_servers_and_clients(fakes: dict[str, str]) -> None:
    with subprocess.Popen(
        ["bash", str(SCRIPT), "a,slow"], env=fakes, stdout=subprocess.DEVNULL, start_new_session=True
    ) as running:
        end = time.monotonic() + 120
        while not any("--model slow" in call for call in calls(fakes)) or served(fakes) < 2:
            assert time.monotonic() < end
            time.sleep(0.05)
        os.kill(running.pid, signal.SIGTERM)
        assert running.wait(timeout=120) == 143
    while calls(fakes).count("vllm ended") < 2:
        assert time.monotonic() < end
        time.sleep(0.05)


def test_wrong_use_is_one_line(fakes: dict[str, str]) -> None:
    told = launch(fakes)
    assert (told.returncode, told.stderr.count("\n")) == (2, 1)
    assert "usage: memory_8xa100.sh MODEL[,MODEL...]" in told.stderr


def served(fakes: dict[str, str]) -> int:
    return sum(call.startswith("vllm serve") for call in calls(fakes))
