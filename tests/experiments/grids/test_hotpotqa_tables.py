"""The committed tables of HotpotQA come from their presets, and agree with each other and with the page."""

import csv
from collections import defaultdict
from pathlib import Path
from statistics import fmean

import pytest

from retrieval_gap.experiments.grids import preset_cells

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "hotpotqa.md").read_text(encoding="utf-8")


def rows_of(name: str) -> list[dict[str, str]]:
    with (ROOT / "results" / name).open(newline="") as file:
        return list(csv.DictReader(file))


every_preset = pytest.mark.parametrize("preset", ["hotpotqa_demo", "hotpotqa_cpu"])


@every_preset
def test_the_committed_rows_are_of_the_presets_cells(preset: str) -> None:
    hashes = {config.hash() for config in preset_cells(preset)}
    for name in (f"{preset}.csv", f"{preset}_transfer.csv"):
        committed = {row["config_hash"] for row in rows_of(name)}
        assert committed
        assert committed <= hashes


@every_preset
def test_a_run_and_transfer_report_the_same_numbers_in_the_setting_of_training(preset: str) -> None:
    own = {
        row["config_hash"]: (row["accuracy"], row["exact_trace"], row["undecided"])
        for row in rows_of(f"{preset}_transfer.csv")
        if row["tested_n"] == row["n"] and row["tested_options"] == row["options"]
    }
    for row in rows_of(f"{preset}.csv"):
        assert own[row["config_hash"]] == (row["accuracy"], row["exact_trace"], row["undecided"])


@pytest.mark.parametrize(("preset", "view"), [("hotpotqa_demo", ""), ("hotpotqa_cpu", " with a convolution")])
def test_the_tables_of_the_page_agree_with_the_results(preset: str, view: str) -> None:
    """They have the means of the seeds."""
    seeds: dict[tuple[str, str, int], list[dict[str, str]]] = defaultdict(list)
    for row in rows_of(f"{preset}_transfer.csv"):
        if row["tested_options"] == row["options"]:
            seeds[row["mode"], row["arch"], int(row["tested_n"])].append(row)
    assert seeds
    for (mode, arch, n), rows in seeds.items():
        accuracy, evidence = (fmean(float(row[column]) for row in rows) for column in ("accuracy", "exact_trace"))
        line = next(line for line in PAGE.splitlines() if line.startswith(f"| {mode}{view} | {arch} |"))
        assert line.split("|")[2 + n // 2].strip() == f"{accuracy:.2f} ({evidence:.2f})"
