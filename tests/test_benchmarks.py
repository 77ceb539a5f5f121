"""Every benchmark runs, on sizes that take no time, and gives rows that the table can show."""

import importlib

import pytest
import torch

from benchmarks import benchmark_names, print_benchmarks, scan
from retrieval_gap.kernels.selective_scan import selective_scan

KEYS = {"name", "ours", "theirs", "ratio", "unit", "against"}
SHRUNKEN = {
    "training_step": {"BATCH": 2, "LENGTH": 5, "SIZE": "tiny", "ROUNDS": {"transformer": 1, "mamba": 1}},
    "decoding": {"BATCH": 2, "SIZE": "tiny", "REREAD_TOKENS": {"cot": 2, "rag": 2}},
    "scan": {"BATCH": 25, "LENGTH": 2, "LONG": 5, "CHANNELS": 16, "STATES": 4, "OUR_RUNS_PER_PEER_RUN": 1},
    "generator": {"_ROUNDS": 1, "_SAMPLES": 8, "_PLAIN_SAMPLES": 2, "SIZES": (16,), "RECALL_SIZES": (16,)},
}


@pytest.mark.parametrize("name", benchmark_names())
def test_a_benchmark_gives_rows(name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    if name == "training_step":
        pytest.importorskip("transformers", reason="the peer, transformers, is not installed")
    module = importlib.import_module(f"benchmarks.{name}")
    for constant, value in SHRUNKEN[name].items():
        monkeypatch.setattr(module, constant, value)
    rows = list(module.run())
    assert rows
    for row in rows:
        assert set(row) == KEYS
        assert min(row["ours"], row["theirs"], row["ratio"]) > 0
    print_benchmarks(name, as_json=False)
    told = capsys.readouterr().out
    assert name in told


def test_the_public_loop_that_the_scan_is_timed_against_computes_the_scan() -> None:
    inputs = scan._scan_inputs(2, 7)
    torch.testing.assert_close(scan._laid_out_first(*inputs), selective_scan(*inputs)[0], rtol=1e-4, atol=1e-5)
