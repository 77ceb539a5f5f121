"""Small made-up result tables."""

import csv
from pathlib import Path
from typing import Any

ARCHITECTURES = ("transformer", "hybrid", "mamba", "lstm")
MODES = ("direct", "cot", "rag")


def row(**changes: Any) -> dict[str, Any]:
    """A row of a results table; the interval is 0.02 to both sides unless given."""
    cell = {"task": "istree", "family": "two_star", "mode": "cot", "n": 8, "arch": "mamba", "size": "tiny"}
    training = {"parameters": 93_120, "samples": 24_000, "seed": 0, "accuracy": 0.75, "eval_samples": 1_000}
    made = cell | training | {"hardware": "Abacus, 2 cores"} | changes
    accuracy = made["accuracy"]
    return {"accuracy_low": max(0, accuracy - 0.02), "accuracy_high": min(1, accuracy + 0.02)} | made


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def demo_like() -> list[dict[str, Any]]:
    """One problem size, four architectures, three views."""
    return [row(mode=mode, arch=arch) for mode in MODES for arch in ARCHITECTURES]


def grid_like(sizes: tuple[str, ...] = ("1m",), ns: tuple[int, ...] = (16, 32)) -> list[dict[str, Any]]:
    """Several problem sizes; model sizes as in the paper."""
    return [
        row(mode=mode, arch=arch, size=size, n=n)
        for mode in MODES
        for arch in ARCHITECTURES
        for size in sizes
        for n in ns
    ]


def probe_row(**changes: Any) -> dict[str, Any]:
    """A row of a table of probes: an LSTM of one unit on Index over 4 letters; the interval is 0.02 to both sides."""
    cell = {"task": "index", "family": "default", "mode": "direct", "options": "values=4", "n": 8}
    model = {"arch": "lstm", "size": "tiny+d_hidden=1", "seed": 0, "samples": 64_000, "hardware": "Abacus, 2 cores"}
    carried = {"bits": "", "rank": 0, "state_bits": 64, "accuracy_strict": 0.5, "eval_samples": 1_000}
    used = {"bits_used": 16, "bits_used_low": 8, "bits_used_high": ""}
    made = cell | model | carried | used | changes
    accuracy = made["accuracy_strict"]
    return {"strict_low": max(0, accuracy - 0.02), "strict_high": min(1, accuracy + 0.02)} | made


def probe_like(ns: tuple[int, ...] = (8, 16), seeds: int = 2) -> list[dict[str, Any]]:
    """For every n: an LSTM unrounded and in 4, 8 and 16 bits, better with more bits and at smaller n; and attention,
    which is always right."""
    rows = []
    for n in ns:
        for seed in range(seeds):
            rows.append(probe_row(n=n, seed=seed, accuracy_strict=0.5 + 1 / n))
            for bits in (1, 2, 4):
                share = 0.25 + bits / (2 * n)
                rows.append(probe_row(n=n, seed=seed, bits=bits, rank=4, state_bits=4 * bits, accuracy_strict=share))
            attention = {"arch": "transformer", "size": "tiny", "state_bits": 4096 * n, "bits_used": 128 * n}
            rows.append(probe_row(n=n, seed=seed, accuracy_strict=1.0, **attention))
    return rows
