"""Each example of CONTRIBUTING.md is found by its name once its file is in the folder given there."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
RECIPES = (ROOT / "CONTRIBUTING.md").read_text().split("\n## ")[1]
USED = """
from retrieval_gap.cli import main
from retrieval_gap.plots import figures
run = "--samples 16 --warmup-samples 8 --batch-size 8 --eval-samples 8 --threads 1 --runs-dir runs".split()
for words in (
    ["tasks"],
    ["archs"],
    "sample parity --n 8 --count 1".split(),
    "train --task parity --mode direct --n 8 --arch mingru --size tiny".split() + run,
    "sweep my_grid --dry-run --runs-dir runs".split(),
    "plot fig_runs --out drawn".split(),
    "memory stream pattern --count 1".split(),
    "memory run pattern --model scripted:note_taker --steps 40 --streams 3 --budget 40 --runs-dir memories".split(),
):
    assert main(words) == 0, words
assert "fig_runs" in figures()
from retrieval_gap.heads import HeadSpec, build, matched_shape
from retrieval_gap.heads.trial import try_head
spec = HeadSpec.parse("gated")
try_head(build(spec, matched_shape(spec, d_states=16, d_out=3, parameters=5_000)), "gated")
"""


def example(recipe: str) -> str:
    return re.findall(rf"### {recipe}.*?```(?:python)?\n(.*?)```", RECIPES, re.S)[0]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the code with each example in its folder; the example grid names my.py."""
    copy = tmp_path / "copy"
    for folder in ("retrieval_gap", "tasks", "plots", "benchmarks"):
        ignored = shutil.ignore_patterns("__pycache__", "*.nb?")
        shutil.copytree(ROOT / folder, copy / folder, symlinks=True, ignore=ignored)
    (copy / "results").mkdir()
    shutil.copy(ROOT / "results" / "istree_demo.csv", copy / "results")
    for place, recipe in (
        ("retrieval_gap/models/mingru.py", "An architecture"),
        ("my.py", "An architecture"),
        ("tasks/parity.py", "A task"),
        ("retrieval_gap/experiments/grids/mine.py", "A grid"),
        ("plots/fig_runs.py", "A figure"),
        ("tasks/streams/pattern.py", "A benchmark"),
        ("retrieval_gap/heads/gated.py", "A head"),
    ):
        (copy / place).write_text(example(recipe))
    return copy


def test_every_recipe_works_from_the_folder_that_it_names(checkout: Path) -> None:
    # without numba's compiler, which would compile the copy's kernels anew
    environment = os.environ | {"PYTHONPATH": str(checkout), "NUMBA_DISABLE_JIT": "1"}
    done = subprocess.run(
        [sys.executable, "-c", USED], cwd=checkout, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-500:] + done.stderr[-2000:]
    assert re.search(r"^parity +Parity of n bits: whether there is an odd number of ones\.$", done.stdout, re.M)
    assert re.search(r"^mingru +A minimal GRU, h = ", done.stdout, re.M)
    assert done.stdout.count("retrieval-gap train --task index") == 4
    assert sorted(path.name for path in (checkout / "drawn").iterdir()) == ["fig_runs.png", "fig_runs.svg"]
