"""launch/hotpotqa_8xa100.sh with fakes of all that it calls: who runs where, what is resumed, what fails."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[3] / "launch" / "hotpotqa_8xa100.sh"
# Notes what it was called with and on which GPUs; "slow" runs until it is ended, "bad" fails.
RETRIEVAL_GAP = """#!/usr/bin/env bash
echo "retrieval-gap [${CUDA_VISIBLE_DEVICES-}] $*" >>"$CALLS"
case "$*" in
  *slow*) exec sleep 60 ;;
  *bad*) exit 1 ;;
esac
sleep 0.3
"""
VLLM = """#!/usr/bin/env bash
echo "vllm [$CUDA_VISIBLE_DEVICES] $*" >>"$CALLS"
[[ $2 != bad* ]] || exit 1
trap 'rm "$CALLS.serves"; echo "vllm ended" >>"$CALLS"; exit 0' TERM
touch "$CALLS.serves"
while true; do sleep 0.05; done
"""
CURL = "#!/usr/bin/env bash\n[[ -e $CALLS.serves ]]\n"


@pytest.fixture
def fakes(tmp_path: Path) -> dict[str, str]:
    """The environment in which the script finds fakes, and two GPUs."""
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    for name, text in (("retrieval-gap", RETRIEVAL_GAP), ("vllm", VLLM), ("curl", CURL)):
        (bin_folder / name).write_text(text)
        (bin_folder / name).chmod(0o755)
    (tmp_path / "dev.json").write_text("[]")
    found = {"BIN": str(bin_folder), "CALLS": str(tmp_path / "calls"), "RUNS": str(tmp_path / "runs")}
    found |= {"TABLE": str(tmp_path / "t.csv"), "OUT": str(tmp_path / "out"), "GPUS": "0,1", "POLL": "0.05"}
    return {**os.environ, **found, "PATH": f"{bin_folder}:{os.environ['PATH']}"}


def launch(fakes: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    data = str(Path(fakes["CALLS"]).with_name("dev.json"))
    command = ["bash", str(SCRIPT), "--data", data, *words]
    return subprocess.run(command, env=fakes, capture_output=True, text=True, check=False, timeout=60)


def calls(fakes: dict[str, str]) -> list[str]:
    path = Path(fakes["CALLS"])
    return path.read_text().splitlines() if path.exists() else []


def test_the_script_is_clean_to_shellcheck() -> None:
    shellcheck = Path(sys.executable).with_name("shellcheck")
    told = subprocess.run([str(shellcheck), str(SCRIPT)], capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stdout


def test_models_run_side_by_side_on_a_gpu_each_then_the_table_and_the_figure_are_made(fakes: dict[str, str]) -> None:
    told = launch(fakes, "org/a", "org/b", "c")
    assert told.returncode == 0, told.stderr
    evaluated = [call for call in calls(fakes) if "hotpotqa --data" in call]
    assert sorted(call.split("--model ")[1].split()[0] for call in evaluated) == ["c", "org/a", "org/b"]
    assert {call.split()[1] for call in evaluated[:2]} == {"[0]", "[1]"}
    assert all("--n-paragraphs 2,4,6,8 --order random,last" in call for call in evaluated)
    table, figure = calls(fakes)[3:]
    assert f"pretrained table --out-dir {fakes['RUNS']} --csv {fakes['TABLE']}" in table
    assert f"plot fig6_hotpotqa --out {fakes['OUT']}" in figure
    assert told.stdout.count(": finished") == 3


def test_a_model_on_several_gpus_is_served_until_its_client_is_done(fakes: dict[str, str]) -> None:
    assert launch(fakes, "org/large@2", "small", "--", "--order", "last").returncode == 0
    served, asked, ended, small = calls(fakes)[:4]
    assert served.startswith("vllm [0,1] serve org/large ")
    assert "--tensor-parallel-size 2" in served
    port = served.split("--port ")[1].split()[0]
    assert f"--model org/large --base-url http://127.0.0.1:{port}/v1 --order last" in asked
    assert ended == "vllm ended"
    assert "--model small" in small
    Path(fakes["CALLS"]).unlink()
    assert launch(fakes, "org/large@2").returncode == 0
    assert f"--port {port} " in calls(fakes)[0], "another address would be another key of the cache"


def test_a_model_that_fails_keeps_neither_the_others_nor_the_table_back(fakes: dict[str, str]) -> None:
    told = launch(fakes, "bad", "good", "bad_server@1")
    assert told.returncode == 1
    assert "bad: failed with status 1, see its log" in told.stdout
    assert "bad_server@1: failed with status 1" in told.stdout
    assert "good: finished" in told.stdout
    assert "vllm ended before it answered" in (Path(fakes["RUNS"]) / "logs" / "bad_server_1.log").read_text()
    assert any("pretrained table" in call for call in calls(fakes))


def test_a_signal_ends_clients_and_servers(fakes: dict[str, str]) -> None:
    data = str(Path(fakes["CALLS"]).with_name("dev.json"))
    command = ["bash", str(SCRIPT), "--data", data, "slow", "slow_served@1"]
    with subprocess.Popen(command, env=fakes, stdout=subprocess.PIPE, text=True) as running:
        end = time.monotonic() + 30
        while len(calls(fakes)) < 3:
            assert time.monotonic() < end
            time.sleep(0.05)
        running.send_signal(signal.SIGTERM)
        told, _ = running.communicate(timeout=30)
    assert running.returncode == 143
    assert "called again, it goes on" in told
    assert calls(fakes)[-1] == "vllm ended"


def test_a_dry_run_calls_nothing(fakes: dict[str, str]) -> None:
    told = launch(fakes, "--dry-run", "a", "b@2")
    assert told.returncode == 0
    assert "--model a --n-paragraphs 2,4,6,8 --order random,last" in told.stdout
    assert "serve b\n" in told.stdout
    assert calls(fakes) == []
    assert not Path(fakes["RUNS"]).exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["a@3"], "more GPUs than the 2"),
        (["a@0"], "one GPU or more"),
        ([], "name one model"),
        (["x/a", "y/a"], "both be called a"),
        (["a", "--flag"], "unknown flag --flag"),
        (["a", "--data", "nothing.json"], "no such file"),
    ],
)
def test_wrong_use_is_one_line(words: list[str], said: str, fakes: dict[str, str]) -> None:
    told = launch(fakes, *words)
    assert told.returncode == 2
    assert said in told.stderr
    assert told.stderr.count("\n") == 1
    assert calls(fakes) == []
