"""A thousand calls that nobody would make on purpose each end with at most one line of error and no traceback."""

import random
import re
import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.attack.calls import call, nothing_leaves
from tests.tables.result_rows import full_row, write_full

pytestmark = pytest.mark.attack
CALLS, SEED, PART = 1_000, 14, 100
TRAIN = "train --task index --mode direct --n 8 --arch lstm --size tiny --samples 32 --batch-size 8 --eval-samples 2"
# Short calls of all commands but bench and doctor; most work.
CALLED = (
    "sample index --mode rag --n 8 --count 1",
    "sample istree --mode cot --n-nodes 6 --format jsonl --count 2",
    "tasks",
    "archs",
    f"{TRAIN} --device cpu --threads 1",
    f"{TRAIN} --device cpu --eval-every 16 --stop-at 0.9",
    "eval RUN --samples 2 --device cpu",
    "transfer RUN --samples 2 --n 8",
    "probe RUN --bits 1 --ranks 1",
    "bound index --length 8 --bits 0,16",
    "construct index --how rnn_rag --n 8 --samples 2",
    "construct turing --machine busy_beaver_4 --input 1",
    "sweep --task index --mode direct --n 8 --arch lstm --size tiny --dry-run",
    "sweep grid.py --dry-run",
    "pretrained table --out-dir runs",
    "pretrained fetch nothing --folder models",
    "memory stream recall --count 1",
    "memory table --runs-dir runs",
    "heads table --runs-dir runs",
    "results --runs-dir runs --csv out.csv",
    "results --results t.csv",
    "compare t.csv t.csv",
    "runs pack p.tar --runs-dir runs",
    "runs unpack p.tar --runs-dir others",
    "data check t.jsonl",
    "plot accuracy --results t.csv --x n --out out",
    "plot curves RUN --out out",
    "plot mine.py --results t.csv --out out",
    "report --runs-dir runs --out out",
)
# No number among them asks for long work: each is small or impossible.
VALUES = (
    "", " ", "-1", "0", "1", "2", "0.5", "1e-400", "1e999", "nan", "-inf", str(2**63), "9" * 400, "1,2,,3", "0x10", "١",
    "None", "[]", "{}", "'", '"', "=", "a=b", "--", "-", "-h", "--help", "--debugged", "\x1b[2J\x07", "\udcff", "ü" * 3,
    "x" * 5_000, "tiny+d_model=-1", "tiny+d_model=16+", "index,copy", "istree", "two_star", "mine.py", "grid.py",
    "empty.py", "empty", "garbage", "t.csv", "t.jsonl", "folder", "missing", "runs", "RUN", "p.tar", "link", "*", "%s",
    "{0}", "$HOME", "a\nb", "data=garbage", "c=3 values=16", "I/N", "0/8", "8/0",
)  # fmt: skip


@cache
def flags_of(command: str) -> tuple[str, ...]:
    """The flags in the command's help."""
    return tuple(sorted(set(re.findall(r"--[a-z][a-z-]*", call([*command.split(), "--help"]).out)))) or ("--help",)


def bent(rng: random.Random) -> list[str]:
    """One of the calls above, changed in one to three places."""
    line = rng.choice(CALLED)
    words = line.split()
    depth = 2 if words[0] in ("pretrained", "memory", "heads", "runs", "data") else 1
    for _ in range(rng.randint(1, 3)):
        place = rng.randrange(1, len(words) + 1)
        match rng.randrange(5):
            case 0 if place < len(words):
                words[place] = rng.choice(VALUES)
            case 1 if place < len(words):
                del words[place]
            case 2:
                words[place:place] = [rng.choice(flags_of(" ".join(line.split()[:depth]))), rng.choice(VALUES)]
            case 3 if place < len(words):
                words.append(words.pop(place))
            case _:
                words.insert(place, rng.choice(VALUES))
    if words[0] == "train" and not {"--samples", "--help", "-h"} & set(words):
        words += ["--samples", "32", "--batch-size", "8"]
    if words[0] == "sweep" and "--dry-run" not in words:
        words.append("--dry-run")
    return words


def furnish(folder: Path, run: Path) -> None:
    """Writes files of many kinds anew, since a call may have replaced one."""
    write_full(folder / "t.csv", *(full_row(seed=seed, n=n) for seed in range(2) for n in (8, 16)))
    (folder / "mine.py").write_text("def broken(:\n")
    (folder / "grid.py").write_text("def cells():\n    return [1, None]\n")
    (folder / "empty.py").write_text("")
    (folder / "empty").write_bytes(b"")
    (folder / "garbage").write_bytes(bytes(random.Random(SEED).randrange(256) for _ in range(5_000)))
    (folder / "t.jsonl").write_text('{"question": 3}\n[]\n\u2028\n')
    (folder / "folder").mkdir(exist_ok=True)
    if not (folder / "link").is_symlink():
        (folder / "link").symlink_to("link")
    for place in (folder / "runs", folder / "others"):
        shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(run, folder / "runs" / run.name)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    """A folder that no write leaves, and a finished run, kept apart from `runs`."""
    room = tmp_path_factory.mktemp("room")
    with nothing_leaves(room):
        assert call([*TRAIN.split(), "--device", "cpu", "--runs-dir", "kept"]).status == 0
        (run,) = (room / "kept").iterdir()
        yield room, run


@pytest.mark.parametrize("part", range(CALLS // PART))
def test_a_thousand_bent_calls_end_with_at_most_a_line_of_error(part: int, folder: tuple[Path, Path]) -> None:
    room, run = folder
    rng = random.Random(f"{SEED} {part}")
    faults = []
    for i in range(PART):
        if i % 25 == 0:
            furnish(room, run)
        words = [f"runs/{run.name}" if word == "RUN" else word for word in bent(rng)]
        told = call(words)
        if why := told.broken():
            faults.append(f"{why}: {[word[:60] for word in words]}: {told.err[-700:]}")
    assert not faults, "\n\n".join(faults)


def test_the_calls_work_before_they_are_bent(folder: tuple[Path, Path]) -> None:
    room, run = folder
    furnish(room, run)
    working = [line for line in CALLED if not re.search("nothing|grid.py|mine.py|t.jsonl|RUN|unpack|table", line)]
    for line in working:
        told = call(line.split())
        assert told.status == 0, (line, told.err)
