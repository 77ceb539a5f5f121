"""A results table becomes points of a grid, or one line says what is wrong with it."""

import csv
from pathlib import Path
from typing import Any

import pytest

from retrieval_gap.machine.errors import UsageError
from retrieval_gap.plots.results import PUBLISHED, Cell, read_results
from retrieval_gap.tables.identity import Setting
from retrieval_gap.tables.published import read_published
from tests.plots.tables import grid_like, row, write


@pytest.mark.parametrize("mode", ["direct", "cot", "rag"])
def test_the_published_table_has_every_cell_of_the_papers_grid(mode: str) -> None:
    cells = {cell for cell in read_published() if cell.mode == mode}
    assert cells == {
        Setting("istree", "two_star", mode, n, "", arch, size)
        for n in (16, 32, 64, 128)
        for arch in ("transformer", "mamba", "hybrid")
        for size in ("0.5m", "1m", "2m")
    }


@pytest.mark.parametrize(
    ("mode", "arch", "size", "accuracies"),
    [
        ("cot", "transformer", "0.5m", [1, 1, 0.975, 0.690]),
        ("cot", "mamba", "1m", [0.995, 0.786, 0.489, 0.498]),
        ("cot", "hybrid", "2m", [1, 0.998, 0.995, 0.993]),
        ("direct", "transformer", "1m", [0.501, 0.481, 0.511, 0.503]),
        ("direct", "mamba", "2m", [0.496, 0.491, 0.484, 0.501]),
        ("rag", "mamba", "0.5m", [1, 1, 1, 1]),
        ("rag", "mamba", "1m", [1, 1, 1, 0.998]),
        ("rag", "mamba", "2m", [1, 1, 1, 0.995]),
        ("rag", "hybrid", "0.5m", [1, 1, 1, 1]),
    ],
)
def test_published_values_agree_with_the_paper(mode: str, arch: str, size: str, accuracies: list[float]) -> None:
    published = read_published()
    settings = [Setting("istree", "two_star", mode, n, "", arch, size) for n in (16, 32, 64, 128)]
    assert [published[setting].accuracy for setting in settings] == accuracies


def test_every_published_value_names_its_source_and_its_error() -> None:
    with PUBLISHED.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 108
    assert {(row["reading_error"], row["source"]) for row in rows} == {
        ("0.003", "Wen et al. 2025, arXiv 2402.18510v4, figures")
    }


def test_published_values_are_kept_only_for_the_same_cell(tmp_path: Path) -> None:
    same = row(n=32, size="1m")
    others = [row(n=32, size="1m", family="random_tree"), row(n=32, size="tiny"), row(n=24, size="1m")]
    results = read_results(write(tmp_path / "t.csv", [same, *others]))
    assert results.published == {Cell("istree", "two_star", "cot", 32, "mamba", "1m"): 0.786}


@pytest.mark.parametrize("change", [{"options": "names=64"}, {"eval_split": "validation"}])
def test_published_values_are_kept_only_for_tests_without_options(change: dict[str, str], tmp_path: Path) -> None:
    same = row(n=32, size="1m", options="", eval_split="test")
    assert read_results(write(tmp_path / "t.csv", [same])).published
    assert read_results(write(tmp_path / "t.csv", [same | change])).published == {}


def test_seeds_of_a_cell_become_their_mean_and_the_envelope_of_their_intervals(tmp_path: Path) -> None:
    rows = [row(seed=seed, accuracy=accuracy) for seed, accuracy in enumerate((0.6, 0.7, 0.8))]
    (point,) = read_results(write(tmp_path / "t.csv", rows)).points.values()
    assert point.accuracy == pytest.approx(0.7)
    assert (point.low, point.high) == pytest.approx((0.58, 0.82))
    assert point.seed_accuracies == [0.6, 0.7, 0.8]


def test_longer_training_of_a_cell_replaces_shorter_training(tmp_path: Path) -> None:
    rows = [row(samples=1_000_000, accuracy=0.6), row(samples=5_000_000, accuracy=0.9)]
    (point,) = read_results(write(tmp_path / "t.csv", rows)).points.values()
    assert (point.seed_accuracies, point.dropped) == ([0.9], 1)


def test_models_are_ordered_by_architecture_then_from_small_to_large(tmp_path: Path) -> None:
    rows = [*grid_like(("2m", "0.5m"), (16,))[::-1], row(mode="rag", arch="mine.py", size="deep")]
    models = read_results(write(tmp_path / "t.csv", rows)).models
    known = [(arch, size) for arch in ("transformer", "hybrid", "mamba", "lstm") for size in ("0.5m", "2m")]
    assert models == [*known, ("mine.py", "deep")]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"accuracy": 1.2}, "line 2: accuracy = '1.2'"),
        ({"accuracy_low": "nan"}, "line 2: accuracy_low = 'nan'"),
        ({"accuracy_high": ""}, "line 2: accuracy_high = ''"),
        ({"n": "eight"}, "line 2: n = 'eight'"),
    ],
)
def test_an_impossible_value_is_named_with_its_line(tmp_path: Path, change: dict[str, Any], told: str) -> None:
    path = write(tmp_path / "t.csv", [row() | change])
    with pytest.raises(UsageError, match=told) as error:
        read_results(path)
    assert str(path) in str(error.value)


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", [{key: value for key, value in row().items() if key != "accuracy_low"}])
    with pytest.raises(UsageError, match=r"lacks the column accuracy_low; .*--results"):
        read_results(path)


def test_a_row_cut_short_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", [row(), row(seed=1)])
    path.write_text(path.read_text().rstrip()[:-40])
    with pytest.raises(UsageError, match="line 3: expected 14 fields"):
        read_results(path)


def test_an_empty_table_says_how_to_make_one(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", [row()])
    path.write_text(path.read_text().splitlines()[0] + "\n")
    with pytest.raises(UsageError, match=r"is empty: .*retrieval-gap sweep demo"):
        read_results(path)


def test_an_absent_table_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no results table .*absent.csv; .*retrieval-gap sweep demo"):
        read_results(tmp_path / "absent.csv")


def test_a_table_that_is_not_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b"\xff\xfe\x00")
    for wrong in (path, tmp_path):
        with pytest.raises(UsageError, match="cannot be read"):
            read_results(wrong)
