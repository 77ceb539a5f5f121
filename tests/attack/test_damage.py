"""Damage of five kinds to any file of a run gives one line of error or the same result, never another number."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from retrieval_gap.decoding.evaluation import Tally
from retrieval_gap.experiments.trained import run as experiments_run
from retrieval_gap.experiments.trained.config import RunConfig
from retrieval_gap.runs.directory import RunDirectory
from tests.attack.calls import call, nothing_leaves
from tests.training.runs import execute

pytestmark = pytest.mark.attack
TRAIN = (
    "train --task associative_recall --mode direct --length 8 --arch lstm --size tiny --samples 64 --batch-size 8"
    " --eval-samples 20 --device cpu --threads 1 --checkpoint-seconds 0 --json --runs-dir runs"
)
TIMES = ("wall_s", "tokens_per_s", "hardware", "threads")
COMMANDS = (
    "results --runs-dir runs --csv out.csv",
    "eval RUN --samples 4 --device cpu",
    "runs pack p.tar --runs-dir runs",
)


def _flip_a_digit(content: bytes) -> bytes:
    """The content with another digit in the middle, or another byte if it has no digit."""
    places = [i for i, byte in enumerate(content) if chr(byte).isdigit()] or list(range(len(content)))
    place = places[len(places) // 2]
    changed = ord("7") if content[place] != ord("7") else ord("3")
    return content[:place] + bytes([changed]) + content[place + 1 :]


WAYS: dict[str, Callable[[bytes], bytes] | None] = {
    "cut": lambda content: content[: len(content) // 2],
    "emptied": lambda content: b"",
    "changed": lambda content: _flip_a_digit(content) if content else b"7",
    "garbage": lambda content: bytes(range(256)) * 8,
    "gone": None,
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, Path], dict[str, Any]]]:
    """A folder that no write leaves, in it a finished run and one stopped in its evaluation, and the right row."""
    room = tmp_path_factory.mktemp("room")
    with nothing_leaves(room):
        told = call(TRAIN.split())
        assert told.status == 0, told.err
        row = json.loads(told.out)
        (room / "runs").rename(room / "finished")
        config = RunDirectory(next((room / "finished").iterdir())).experiment()
        assert isinstance(config, RunConfig)
        _stop_in_the_evaluation(config, room / "partial")
        yield room, {"finished": room / "finished", "partial": room / "partial"}, row


def _stop_in_the_evaluation(config: RunConfig, folder: Path) -> None:
    inner = experiments_run.write_tally

    def count_and_fall(run: RunDirectory, tally: Tally) -> None:
        inner(run, tally)
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(experiments_run, "_decode_batch", lambda model, task: 7)
        patch.setattr(experiments_run, "write_tally", count_and_fall)
        with pytest.raises(KeyboardInterrupt):
            execute(config, folder, checkpoint_seconds=0.0)


def timeless(row: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key not in TIMES}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("state", ["finished", "partial"])
def test_no_damage_gives_another_number_or_more_than_a_line_of_error(
    state: str, way: str, runs: tuple[Path, dict[str, Path], dict[str, Any]]
) -> None:
    room, kept, row = runs
    (source,) = kept[state].iterdir()
    faults, damage = [], WAYS[way]
    for name in sorted(path.name for path in source.iterdir() if path.is_file()):
        shutil.rmtree(room / "runs", ignore_errors=True)
        shutil.copytree(kept[state], room / "runs")
        path = room / "runs" / source.name / name
        content = path.read_bytes()
        path.unlink()
        if damage is not None:
            path.write_bytes(damage(content))
        for words in (*COMMANDS, TRAIN):
            told = call(words.replace("RUN", f"runs/{source.name}").split())
            if why := told.broken():
                faults.append(f"{name}: {words[:20]}: {why}: {told.err[-600:]}")
            if words == TRAIN and told.status == 0 and timeless(json.loads(told.out)) != timeless(row):
                faults.append(f"{name}: another row: {told.out}")
    assert not faults, "\n".join(faults)
