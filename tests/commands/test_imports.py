"""A command imports slow packages only if it needs them: torch takes a second, and most commands do without it."""

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest

SLOW = {"torch", "numba", "matplotlib", "networkx", "transformers", "ray"}
LOOK = """
import sys
from retrieval_gap.cli import main
try:
    main(sys.argv[1:])
except SystemExit:
    pass
print("IMPORTED", *sys.modules)
"""


def imported(words: str, folder: Path) -> set[str]:
    """The packages of SLOW that are imported when the command has answered."""
    found = subprocess.run(
        [sys.executable, "-c", LOOK, *words.split()], cwd=folder, capture_output=True, text=True, check=True
    )
    return SLOW & set(found.stdout.rpartition("IMPORTED")[2].split())


@pytest.mark.parametrize(
    "words", ["--help", "train --help", "sweep --help", "train --task nope", "trian", "sweep demo --tries many"]
)
def test_help_and_wrong_use_import_nothing_slow(words: str, tmp_path: Path) -> None:
    assert imported(words, tmp_path) == set()


@pytest.mark.parametrize("words", ["bound index --n 8 --bits 4", "sample index --n 4", "sample mqar --n 32 --mode rag"])
def test_a_task_is_sampled_and_bounded_without_torch(words: str, tmp_path: Path) -> None:
    assert imported(words, tmp_path) == {"numba"}


def test_a_users_task_is_sampled_without_torch(tmp_path: Path) -> None:
    source = Path(__file__).parents[2] / "tasks" / "index.py"
    (tmp_path / "mine.py").write_text(source.read_text().replace("from .", "from retrieval_gap.tasks."))
    assert "torch" not in imported("sample mine.py --n 4", tmp_path)


def test_tables_are_compared_and_listed_without_torch(tmp_path: Path) -> None:
    table = Path(__file__).parents[2] / "results" / "istree_demo.csv"
    assert imported(f"compare {table}", tmp_path) == set()
    assert "torch" not in imported(f"results --results {table}", tmp_path)


def test_runs_are_listed_without_torch(tmp_path: Path) -> None:
    run = tmp_path / "runs" / "index-direct-n8-lstm-tiny-s0-0123456789ab"
    run.mkdir(parents=True)
    config = {"task": "index", "mode": "direct", "n": 8, "arch": "lstm", "size": "tiny"}
    (run / "config.json").write_text(json.dumps(config))
    assert "torch" not in imported("results", tmp_path)


def test_a_figure_is_drawn_without_torch(tmp_path: Path) -> None:
    table = Path(__file__).parents[2] / "results" / "theory_demo.csv"
    assert "torch" not in imported(f"plot accuracy --results {table}", tmp_path)
    assert (tmp_path / "out" / "accuracy_by_n.png").exists()


def test_help_answers_in_half_the_time_that_importing_torch_takes() -> None:
    """Processor times, measured in turn, the best of at most ten: other jobs compete for the processor's caches."""
    helps, imports = list[float](), list[float]()
    while len(helps) < 10 and min(helps, default=1.0) >= 0.5 * min(imports, default=0.0):
        helps.append(_processor_seconds("-m", "retrieval_gap.cli", "--help"))
        imports.append(_processor_seconds("-c", "import torch"))
    assert min(helps) < 0.5 * min(imports)


def _processor_seconds(*words: str) -> float:
    before = _children_seconds()
    subprocess.run([sys.executable, *words], capture_output=True, check=True)
    return _children_seconds() - before


def _children_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
