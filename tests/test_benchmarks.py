"""Every benchmark runs, here at tiny sizes, and gives rows that the table can show."""

import importlib

import pytest
import torch

from retrieval_gap.benchmarks import benchmark_names, least_in_turn, print_benchmarks, scan
from retrieval_gap.benchmarks.gpu_training import step_flops
from retrieval_gap.kernels.selective_scan import ScanInputs, selective_scan
from retrieval_gap.training.batches import TrainingBatch
from tests.models.helpers import random_tokens, small_model

KEYS = {"name", "ours", "theirs", "ratio", "unit", "against"}
SHRUNKEN = {
    "training_step": {"BATCH": 2, "LENGTH": 5, "SIZE": "tiny", "ROUNDS": {"transformer": 1, "mamba": 1}},
    "decoding": {"BATCH": 2, "SIZE": "tiny", "ROUNDS": 1, "REREAD_TOKENS": {"cot": 2, "rag": 2}},
    "products": {"ROWS": 4, "ROUNDS": 1, "SECONDS": 1e-6},
    "scan": {"BATCH": 25, "LENGTH": 2, "LONG": 5, "CHANNELS": 16, "STATES": 16},
    "gpu_training": {
        "DEVICE": "cpu",
        "SIZES": ("tiny",),
        "MODES": ("direct",),
        "NODES": (4,),
        "PRECISIONS": ("fp32", "bf16"),
        "WARM_UP_STEPS": 1,
        "SECONDS": 0.01,
        "MATMUL": 8,
    },
    "gpu_sharing": {
        "DEVICE": "cpu",
        "SHARES": (2,),
        "ARCHS": ("lstm",),
        "CELLS": (("direct", 4),),
        "SIZE": "tiny",
        "SECONDS": 0.01,
    },
    "gpu_decoding": {"DEVICE": "cpu", "SIZE": "tiny", "NODES": 4, "SAMPLES": 3, "LOOKED_AT_TOKENS": 2},
    "generator": {"_ROUNDS": 1, "_SAMPLES": 8, "_PLAIN_SAMPLES": 2, "SIZES": (16,), "RECALL_SIZES": (16,)},
    "gpu_scan": {},
    "heads": {
        "TEXTS": 8,
        "WORDS": 20,
        "ROUNDS": 1,
        "LAYERS": 1,
        "WIDTH": 24,
        "INNER": 24,
        "PARAMETERS": 4000,
        "STEPS": 2,
    },
    "larger_models": {"NODES": (4,)},
    "recurrences": {"BATCH": 2, "LENGTHS": (3,), "ROUNDS": 1},
    "scale": {"NODES": (6,), "DRAWN": 4, "PARAMETERS": (2_000,), "RUNS": 3, "ROUNDS": 1},
}


def test_both_sides_take_turns_and_have_equally_many_tries() -> None:
    tried: list[str] = []
    clock = iter([0, 5, 5, 8, 8, 12, 12, 19, 19, 25, 25, 26])
    given = (lambda: tried.append("ours"), lambda: tried.append("theirs"))
    assert least_in_turn(*given, 3, lambda: float(next(clock))) == (1, 4)
    assert tried == ["theirs", "ours"] * 3
    tried.clear()
    scan._interleaved(*given, 4)
    assert tried.count("ours") == tried.count("theirs") == 5  # one of each to compile


NEED_GPU = [name for name in benchmark_names() if name.startswith("gpu_")]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
@pytest.mark.parametrize("name", NEED_GPU)
def test_a_gpu_benchmark_without_a_gpu_says_so_in_one_line(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    for as_json in (False, True):
        print_benchmarks(name, as_json=as_json)
        told = capsys.readouterr()
        line = told.err if as_json else told.out
        assert line == f"{name}: this is measured on a GPU, and torch finds none here; nothing was measured\n"


@pytest.mark.parametrize("name", ["lstm"])
def test_the_operations_of_a_step_are_those_of_its_matrices(name: str) -> None:
    """Six operations per entry and token, or four if the matrix is the frozen head's.  A Transformer's layers are
    single kernels on the CPU, which torch does not count."""
    model, tokens_BxL = small_model(name), random_tokens(2, 9)
    batch = TrainingBatch(0, tokens_BxL, torch.ones_like(tokens_BxL, dtype=torch.bool), 18)
    entries = sum(p.numel() for p in model.trained_parameters().values() if p.ndim == 2)
    assert step_flops(model, batch) == (6 * entries + 4 * model.embedding.weight.numel()) * 2 * 8


# torch.compile calls a function that torch itself deprecates.
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")
def test_the_peers_of_the_scan_can_be_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    for constant, value in SHRUNKEN["scan"].items():
        monkeypatch.setattr(scan, constant, value)
    assert any(row["against"].startswith("torch.compile") for row in scan.run())


LONG = ("gpu_sharing", "gpu_training", "gpu_decoding")  # processes one after the other; models that a GPU is for


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in LONG else name for name in benchmark_names()]
)
def test_a_benchmark_gives_rows(name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(torch, "compile", lambda function: function)  # it takes half a minute of two cores
    if name in ("training_step", "decoding", "heads"):
        pytest.importorskip("transformers", reason="the peer, transformers, is not installed")
    module = importlib.import_module(f"retrieval_gap.benchmarks.{name}")
    for constant, value in SHRUNKEN[name].items():
        monkeypatch.setattr(module, constant, value)
    if name == "gpu_scan" and not torch.cuda.is_available():
        pytest.skip("Triton's interpreter is not timed")
    if name in NEED_GPU:
        monkeypatch.setattr(module, "NEEDS_GPU", False)
    rows = list(module.run())
    assert rows
    for row in rows:
        assert set(row) == KEYS
        assert min(row["ours"], row["theirs"], row["ratio"]) > 0
    monkeypatch.setattr(module, "run", lambda: rows)  # once is enough
    print_benchmarks(name, as_json=False)
    told = capsys.readouterr().out
    assert name in told


def test_heads_are_timed_even_if_their_peer_is_not_installed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("transformers", reason="the peer, transformers, is not installed")
    module = importlib.import_module("retrieval_gap.benchmarks.heads")
    for constant, value in SHRUNKEN["heads"].items():
        monkeypatch.setattr(module, constant, value)
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    assert [row["unit"] for row in module.run()] == ["examples/s"]
    assert "pip install sentence-transformers" in capsys.readouterr().err


def test_the_public_loop_that_the_scan_is_timed_against_computes_the_scan() -> None:
    inputs = scan._scan_inputs(2, 7)
    y, _ = selective_scan(ScanInputs(*inputs))
    torch.testing.assert_close(scan._laid_out_first(*inputs), y, rtol=1e-4, atol=1e-5)
