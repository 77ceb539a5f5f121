"""Made-up rows of runs with every column, as `retrieval-gap results` reads and writes them."""

from pathlib import Path
from typing import Any

from retrieval_gap.statistics.intervals import wilson_interval
from retrieval_gap.tables.rows import Row, write_rows


def full_row(**changes: Any) -> Row:
    """A row of a run; its interval is Wilson's, its hash tells cell, seed and learning rate apart."""
    row: Row = {
        "task": "istree", "family": "two_star", "mode": "cot", "n": 16, "options": "", "arch": "mamba", "size": "1m",
        "embedding": "sinusoidal", "parameters": 1_000_000, "state_bits": 65_536,
        "state_bits_per_token": 0, "samples": 64_000, "batch_size": 64,
        "lr": 0.0003, "warmup_samples": 10_000, "max_grad_norm": 0.0,
        "precision": "fp32", "curriculum": "", "seed": 0, "eval_split": "test",
        "accuracy": 0.75, "exact_trace": 0.5,
        "undecided": 0.0, "eval_samples": 1_000, "tokens_per_s": 1234.5, "wall_s": 60.0, "threads": 1,
        "hardware": "Abacus, 2 cores", "torch": "2.13.0+cpu", "commit": "abcdefabcdef",
    } | changes  # fmt: skip
    row["accuracy_low"], row["accuracy_high"] = wilson_interval(row["accuracy"], row["eval_samples"])
    row["accuracy_strict"] = row["accuracy"]
    words = (row[key] for key in ("task", "family", "mode", "n", "options", "arch", "size", "seed", "lr"))
    return row | {"config_hash": "-".join(map(str, words))} | changes


def write_full(path: Path, *rows: Row) -> Path:
    write_rows(path, rows)
    return path
