"""The Python API is small and documented, imports slow packages only when needed, and its notebook runs."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import retrieval_gap
from retrieval_gap import LoadedRun, RunConfig, RunOptions, bound_of, load_run, load_task, read_rows, train_run
from retrieval_gap.api import sweep
from retrieval_gap.machine.errors import UsageError
from retrieval_gap.runs.directory import RunDirectory

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "examples" / "quickstart.ipynb"
CONFIG = RunConfig(
    task="index", mode="rag", n=4, arch="transformer", size="tiny+n_layers=1", embedding="learned", samples=64,
    batch_size=8, warmup_samples=8, eval_samples=10, lr=3e-3,
)  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> LoadedRun:
    options = RunOptions(runs_dir=tmp_path_factory.mktemp("runs"), threads=1)
    train_run(CONFIG, options)
    return load_run(RunDirectory.of(CONFIG, options.runs_dir).path)


def test_every_public_name_exists_and_is_documented() -> None:
    for name in retrieval_gap.__all__:
        assert getattr(retrieval_gap, name).__doc__
        assert name in dir(retrieval_gap)
    with pytest.raises(AttributeError, match="no attribute 'load_tasks'"):
        _ = retrieval_gap.load_tasks


def test_importing_the_package_imports_nothing_slow() -> None:
    code = "import sys, retrieval_gap; assert not {'torch', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_package_is_marked_as_typed() -> None:
    assert (Path(retrieval_gap.__file__).parent / "py.typed").exists()


def test_a_task_can_be_sampled_and_has_a_bound() -> None:
    task = load_task("index", 8, options="values=4")
    assert task.sample(np.arange(3)).tokens_BxL.shape[0] == 3
    assert bound_of(task).bits_needed == 16


def test_a_run_is_read_back_with_its_model_and_task(run: LoadedRun) -> None:
    assert run.config == CONFIG
    assert run.samples == 64
    assert run.task.config.split == "test"
    assert not run.model.training


def test_decode_returns_the_sample_of_the_given_number(run: LoadedRun) -> None:
    sample, gold = run.decode(3), run.task.sample(np.array([3]))
    words = [run.task.vocabulary[token] for token in gold.tokens_BxL[0, : gold.length_B[0]]]
    assert sample.prompt + sample.gold == words
    assert len(sample.tokens_L) == len(sample.prompt) + len(sample.written)
    with pytest.raises(ValueError, match="numbered from 0"):
        run.decode(-1)


def test_a_decoded_sample_has_a_state_for_each_token_of_the_size_that_the_model_reports(run: LoadedRun) -> None:
    sample = run.decode(0)
    assert len(sample.states) == len(sample.tokens_L)
    bits = sum(8 * tensor.numel() * tensor.element_size() for tensor in sample.states[-1])
    assert bits == run.model.state_bits(len(sample.tokens_L))


def test_attention_sums_to_one_over_the_tokens_so_far(run: LoadedRun) -> None:
    sample = run.decode(0)
    (weights_HxLxL,) = sample.attention
    length = len(sample.tokens_L)
    assert weights_HxLxL.shape == (4, length, length)
    torch.testing.assert_close(weights_HxLxL.sum(-1), torch.ones(4, length))
    assert (weights_HxLxL.triu(1) == 0).all()


def test_searches_are_listed_with_their_results(run: LoadedRun) -> None:
    """Uses the search of the gold trace in place of what the model wrote."""
    from retrieval_gap.api import _searches

    gold = run.task.sample(np.array([0]))
    tokens_L = gold.tokens_BxL[0, : gold.length_B[0]]
    ((query, result),) = _searches(tokens_L, int(gold.prompt_len_B[0]), run.task)
    words = [run.task.vocabulary[token] for token in tokens_L]
    at = words.index("[ENDSEARCH]")
    assert query == words[words.index("[STARTSEARCH]") + 1 : at]
    assert result == words[at + 1 : at + 1 + len(result)]


def test_a_sweep_returns_the_rows_of_all_its_cells(tmp_path: Path) -> None:
    cells = [replace(CONFIG, arch="lstm", seed=seed) for seed in (0, 1)]
    rows = sweep(cells, RunOptions(runs_dir=tmp_path, threads=1))
    assert [row["seed"] for row in rows] == [0, 1]


def test_a_script_on_standard_input_sweeps_without_a_guard(tmp_path: Path) -> None:
    """Such a script has no file: its workers neither look for one nor run the script again."""
    script = f"""
from pathlib import Path
from retrieval_gap import sweep
from retrieval_gap.experiments.trained.config import RunConfig
from retrieval_gap.runs.experiment import RunOptions
cell = RunConfig(**{CONFIG.to_json() | {"arch": "lstm"}!r})
print("rows:", len(sweep([cell], RunOptions(runs_dir=Path({str(tmp_path)!r})))))
"""
    told = subprocess.run(
        [sys.executable, "-"], input=script, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert told.stdout.endswith("rows: 1\n"), told.stderr


def test_a_committed_table_is_read_as_numbers() -> None:
    row = read_rows(ROOT / "results" / "theory_demo.csv")[0]
    assert (type(row["n"]), type(row["accuracy"])) == (int, float)


def test_values_of_another_type_are_named(tmp_path: Path) -> None:
    wrong: Any = {"task": "index"}
    with pytest.raises(UsageError, match="train_run takes a RunConfig, not a dict"):
        train_run(wrong)
    for cells, told in ((wrong, "str"), ("grid.py", "str"), (CONFIG, "RunConfig")):
        with pytest.raises(UsageError, match=f"sweep takes a list of experiments, .* not a {told}"):
            sweep(cells, RunOptions(runs_dir=tmp_path))


def test_a_folder_without_a_run_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not a run directory"):
        load_run(tmp_path)


def test_the_notebook_runs_from_its_first_cell_to_its_last(tmp_path: Path) -> None:
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    source = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    assert all(not cell["outputs"] for cell in cells if cell["cell_type"] == "code"), "outputs are not committed"
    told = subprocess.run(
        [sys.executable, "-c", source],
        cwd=tmp_path,
        env=os.environ | {"MPLBACKEND": "agg"},
        capture_output=True,
        text=True,
    )
    assert told.returncode == 0, told.stderr
    assert "16.0 bits are needed" in told.stdout
    assert (tmp_path / "quickstart.csv").exists()
