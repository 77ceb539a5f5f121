"""launch/hotpotqa_8xa100.sh, with fakes of the programs it calls, asks every model and reports failures."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.experiments.launching import LAUNCH, calls, fakes_in, launched

SCRIPT = LAUNCH / "hotpotqa_8xa100.sh"


@pytest.fixture
def fakes(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "dev.json").write_text("[]")
    return fakes_in(tmp_path)


def command(fakes: dict[str, str], *words: str) -> list[str]:
    return ["bash", str(SCRIPT), str(Path(fakes["CALLS"]).with_name("dev.json")), *words]


def launch(fakes: dict[str, str], *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    return launched(command(fakes, *words), fakes | more)


def test_models_are_swept_over_the_gpus_then_the_table_and_the_figure_are_made(fakes: dict[str, str]) -> None:
    told = launch(fakes, "org/a,b")
    assert told.returncode == 0, told.stderr
    asked, table, figure = calls(fakes)
    assert "--model org/a,b --sweep --device cuda --n-paragraphs 2,4,6,8 --order random,last" in asked
    assert f"pretrained table --out-dir {fakes['RUNS']} --csv {fakes['TABLE']}" in table
    assert f"plot fig6_hotpotqa --out {fakes['OUT']}" in figure


def test_a_model_is_served_until_its_client_is_done(fakes: dict[str, str]) -> None:
    assert launch(fakes, "small", "--order", "last", SERVED="org/large").returncode == 0
    small, served, asked, ended = calls(fakes)[:4]
    assert "--model small --sweep --device cuda --order last" in small
    assert served.startswith("vllm serve org/large ")
    assert "--tensor-parallel-size 8" in served
    port = served.split("--port ")[1].split()[0]
    assert f"--model org/large --base-url http://127.0.0.1:{port}/v1 --order last" in asked
    assert ended == "vllm ended"
    Path(fakes["CALLS"]).unlink()
    assert launch(fakes, "", SERVED="org/large").returncode == 0
    assert f"--port {port} " in calls(fakes)[0], "another address would be another key of the cache"


def test_a_model_that_fails_keeps_neither_the_others_nor_the_table_back(fakes: dict[str, str]) -> None:
    told = launch(fakes, "bad", SERVED="bad_server,good")
    assert told.returncode == 1
    assert "vllm ended before it answered" in told.stderr
    assert any("--model good --base-url" in call for call in calls(fakes))
    assert any("pretrained table" in call for call in calls(fakes))


def test_a_signal_ends_the_server(fakes: dict[str, str]) -> None:
    with subprocess.Popen(
        command(fakes, "", "--order", "slow"), env=fakes | {"SERVED": "a"}, start_new_session=True
    ) as running:
        end = time.monotonic() + 120
        while len(calls(fakes)) < 2:
            assert time.monotonic() < end
            time.sleep(0.05)
        os.killpg(running.pid, signal.SIGTERM)
        assert running.wait(timeout=120) == 143
    assert calls(fakes)[-1] == "vllm ended"


def test_a_dry_run_calls_nothing(fakes: dict[str, str]) -> None:
    told = launch(fakes, "a", SERVED="b", DRY="1")
    assert told.returncode == 0
    assert "--model a --sweep --device cuda --n-paragraphs 2,4,6,8 --order random,last" in told.stdout
    assert "vllm serve b " in told.stdout
    assert calls(fakes) == []
    assert not Path(fakes["RUNS"]).exists()


def test_wrong_use_is_one_line(fakes: dict[str, str]) -> None:
    for words in ([], ["", "--order", "last"]):
        told = launch(fakes, *words)
        assert (told.returncode, told.stderr.count("\n")) == (2, 1)
        assert "usage: hotpotqa_8xa100.sh FILE MODEL[,MODEL...]" in told.stderr
    Path(fakes["CALLS"]).with_name("dev.json").unlink()
    assert launch(fakes, "a").returncode == 2
    assert calls(fakes) == []
