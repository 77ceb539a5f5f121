"""A user's file that ends the process, never ends or closes the output is reported in one line."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from retrieval_gap.tasks.containment import PATIENCE, EndlessError, contained

SAMPLES_THEN = """
import os, sys
from retrieval_gap.tasks.index import Index
class Mine(Index):
    def sample(self, indices):
        if indices[0] >= {first}:
            {then}
        return super().sample(indices)
TASK = Mine
"""
ROOT = Path(__file__).parents[2]
TRAIN = "--mode direct --n 8 --arch lstm --size tiny --samples 320 --eval-samples 10 --device cpu"


@pytest.mark.faults
@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("import os\nos._exit(0)\n", "mine.py:2: SystemExit: os._exit(0) is called"),
        ("import sys\nsys.exit(0)\n", "mine.py:2: SystemExit: 0"),
        ("import sys\nsys.stdout.close()\n" + SAMPLES_THEN.format(first=0, then="pass"), "closes the standard output"),
        (SAMPLES_THEN.format(first=0, then="sys.stdout.close()"), "closes the standard output"),
        (SAMPLES_THEN.format(first=200, then="sys.stdout.close()"), "standard output was closed"),
        (SAMPLES_THEN.format(first=0, then="os._exit(0)"), "os._exit(0) is called"),
        (SAMPLES_THEN.format(first=200, then="os._exit(0)"), "os._exit(0) is called"),
    ],
    ids=["_exit", "exit", "closes", "closes in the trial", "closes later", "_exit in the trial", "_exit later"],
)
def test_a_file_that_ends_the_program_is_reported_in_one_line(text: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(text)
    words = ["train", "--task", str(path), *TRAIN.split(), "--runs-dir", str(tmp_path / "runs")]
    done = subprocess.run([sys.executable, "-m", "retrieval_gap.cli", *words], capture_output=True, text=True)
    (line,) = [line for line in done.stderr.splitlines() if "samples/s" not in line]
    assert told in line
    assert done.returncode in (1, 2)


GRID = "import os\ndef cells():\n    {then}\n"
FIGURE = "import os\ndef draw_figure(results):\n    {then}\n"
CALLED = {"os._exit(0)": "os._exit(0) is called", "while True: pass": "is not done after 0.5 s"}


@pytest.mark.faults
@pytest.mark.parametrize(("then", "told"), CALLED.items())
@pytest.mark.parametrize(("text", "words"), [(GRID, ["sweep"]), (FIGURE, ["plot"])], ids=["grid", "figure"])
def test_a_function_of_a_file_can_neither_end_the_program_silently_nor_run_forever(
    text: str, words: list[str], then: str, told: str, tmp_path: Path
) -> None:
    path = tmp_path / "mine.py"
    path.write_text(text.format(then=then))
    table = ["--results", str(ROOT / "results" / "istree_demo.csv")] if words == ["plot"] else []
    call = [sys.executable, "-m", "retrieval_gap.cli", *words, str(path), *table]
    patience = "0.5" if "while" in then else "60"
    done = subprocess.run(call, capture_output=True, text=True, env=os.environ | {PATIENCE: patience}, cwd=tmp_path)
    (line,) = done.stderr.splitlines()
    assert told in line
    assert done.returncode in (1, 2)


def test_an_endless_loop_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PATIENCE, "0.2")

    def loop() -> None:
        with contained():
            while True:
                pass

    with pytest.raises(EndlessError, match=rf"not done after 0\.2 s \({PATIENCE}=SECONDS waits longer\)"):
        loop()


@pytest.mark.parametrize("patience", ["inf", "nan", "1e12", "-1", "0", "long"])
def test_no_value_of_the_patience_variable_makes_a_file_fail(patience: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PATIENCE, patience)
    with contained():
        waits = signal.getitimer(signal.ITIMER_REAL)[0]
    assert (waits > 0) == (patience in ("nan", "0", "long"))


def test_exit_and_the_alarm_are_restored_afterwards() -> None:
    before = os._exit, signal.getsignal(signal.SIGALRM)
    with contained():
        assert os._exit is not before[0]
        assert signal.getitimer(signal.ITIMER_REAL)[0] > 0
    assert (os._exit, signal.getsignal(signal.SIGALRM)) == before
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0
