"""Small made-up result tables."""

import csv
from pathlib import Path
from typing import Any

ARCHITECTURES = ("transformer", "hybrid", "mamba", "lstm")
MODES = ("direct", "cot", "rag")


def row(**changes: Any) -> dict[str, Any]:
    """A row of a results table; the interval is 0.02 to both sides unless told."""
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
