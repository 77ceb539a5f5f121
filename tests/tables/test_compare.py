"""A comparison says which cells of two tables differ by more than chance, and which published ones are reproduced."""

from pathlib import Path

import numpy as np
import pytest

from retrieval_gap.cli import main
from retrieval_gap.machine.errors import UsageError
from retrieval_gap.statistics.intervals import Interval, newcombe_interval, paired_t_interval, prediction_interval
from retrieval_gap.tables.compare import (
    Comparison,
    Runs,
    against_published,
    estimate_of,
    pairs,
    runs_by_cell,
)
from retrieval_gap.tables.identity import Setting
from retrieval_gap.tables.published import Published, read_published
from retrieval_gap.tables.rows import PUBLISHED, Row, Sourced
from retrieval_gap.tables.texts import read_rows
from tests.tables.result_rows import full_row, write_full


def cells(*rows: Row) -> dict[Setting, Runs]:
    return runs_by_cell(Sourced(f"row {i}", row) for i, row in enumerate(rows)).cells


def runs(*accuracies: float, first_seed: int = 0) -> Runs:
    seeds = enumerate(accuracies, first_seed)
    return {seed: full_row(seed=seed, accuracy=accuracy) for seed, accuracy in seeds}


def test_single_seeds_are_compared_by_their_evaluation_samples() -> None:
    estimate = estimate_of(runs(0.8), runs(0.6))
    assert estimate.interval == newcombe_interval(0.8, 1_000, 0.6, 1_000)
    assert (estimate.difference, estimate.by) == (pytest.approx(0.2), "Newcombe")


def test_the_same_seeds_are_compared_seed_by_seed() -> None:
    estimate = estimate_of(runs(0.9, 0.7, 0.5), runs(0.8, 0.5, 0.5))
    assert estimate.interval == pytest.approx(paired_t_interval([0.1, 0.2, 0.0]))
    assert estimate.by == "paired t, 3 seeds"


def test_seeds_that_agree_do_not_make_the_interval_narrower_than_the_samples_allow() -> None:
    estimate = estimate_of(runs(0.9, 0.9), runs(0.8, 0.8))
    assert estimate.interval == pytest.approx(newcombe_interval(0.9, 2_000, 0.8, 2_000))


def test_different_seeds_are_compared_by_their_means() -> None:
    assert estimate_of(runs(0.9, 0.7), runs(0.8, 0.5, 0.6, first_seed=7)).by == "Welch, 2 + 3 seeds"


def test_only_seeds_in_both_tables_are_paired() -> None:
    ours, theirs = (full_row(seed=s) for s in (0, 1, 2)), (full_row(seed=s) for s in (1, 2, 5))
    (comparison,) = pairs(cells(*ours), cells(*theirs))
    assert comparison.seeds == 2
    assert comparison.verdict == "no difference shown"


def test_cells_are_paired_by_their_task_view_size_options_and_model() -> None:
    ours = cells(full_row(), full_row(n=32), full_row(arch="lstm"), full_row(task="index", options="values=4"))
    theirs = cells(full_row(accuracy=0.5), full_row(n=64), full_row(task="index", options="values=8"))
    (comparison,) = pairs(ours, theirs)
    assert (comparison.cell.n, comparison.cell.arch, comparison.verdict) == (16, "mamba", "higher")


def test_a_cell_keeps_only_its_longest_trained_runs() -> None:
    ours = cells(full_row(accuracy=0.9), full_row(samples=1_000, accuracy=0.5, config_hash="short"))
    assert [[row["accuracy"] for row in runs.values()] for runs in ours.values()] == [[0.9]]


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(
    "setting", [{"lr": 0.001}, {"embedding": "learned"}, {"batch_size": 32}, {"precision": "bf16"}, {"curriculum": "8"}]
)
def test_two_settings_are_not_averaged_whatever_their_seeds(setting: Row, seed: int) -> None:
    (column,) = setting
    with pytest.raises(UsageError, match=f"row 0 and row 1 differ in {column} .*choose with --only"):
        cells(full_row(), full_row(seed=seed, config_hash="other", **setting))


def test_rows_of_the_validation_split_are_separate_cells() -> None:
    made = cells(full_row(), full_row(seed=1, eval_split="validation", accuracy=0.5))
    assert [(cell.eval_split, *runs) for cell, runs in made.items()] == [("test", 0), ("validation", 1)]


def reproduction(accuracy: float, **changes: object) -> dict[str, Comparison]:
    """By verdict, the comparison of Mamba 1m in cot at n = 32, published 0.786, and of all other published cells."""
    ours = cells(full_row(n=32, accuracy=accuracy, **changes))
    return {c.verdict: c for c in against_published(ours, read_published())}


def reproduction_of_seeds(*accuracies: float) -> Comparison:
    """The comparison of several seeds of the same cell."""
    ours = cells(*(full_row(n=32, seed=seed, accuracy=accuracy) for seed, accuracy in enumerate(accuracies)))
    return next(c for c in against_published(ours, read_published()) if c.seeds)


def test_a_published_cell_is_reproduced_if_the_difference_may_be_zero() -> None:
    # half the width of Newcombe's interval at 1,000 and 5,000 samples is 0.028, the error of reading 0.003
    assert reproduction(0.786)["reproduced"].other == 0.786
    assert "reproduced" in reproduction(0.786 - 0.028)


@pytest.mark.parametrize("sign", [-1, 1])
def test_with_one_training_each_the_verdict_says_only_that_they_differ(sign: int) -> None:
    assert "differs, one training each" in reproduction(0.786 + sign * 0.035)


def test_more_samples_make_the_comparison_stricter() -> None:
    assert "differs, one training each" in reproduction(0.786 - 0.028, eval_samples=100_000)


def test_several_seeds_show_how_far_one_more_training_may_be() -> None:
    compared = reproduction_of_seeds(0.76, 0.77, 0.78)
    assert compared.verdict == "reproduced"
    low, high = prediction_interval([0.76 - 0.786, 0.77 - 0.786, 0.78 - 0.786])
    assert compared.estimate is not None
    assert compared.estimate.interval == pytest.approx((low - 0.003, high + 0.003))
    assert reproduction_of_seeds(0.60, 0.61, 0.62).verdict == "not reproduced"


def test_a_cell_that_is_measured_too_roughly_is_undecided() -> None:
    assert "undecided" in reproduction(0.6, eval_samples=5)
    far_apart = reproduction_of_seeds(1.0, 0.0)
    assert far_apart.verdict == "undecided"
    assert far_apart.estimate is not None
    assert far_apart.estimate.interval == (-1, 1)


def test_no_interval_of_a_difference_exceeds_1() -> None:
    paired = estimate_of(runs(1.0, 0.0), runs(0.5, 0.9))
    apart = estimate_of(runs(1.0, 0.0), runs(0.5, 0.9, first_seed=7))
    assert paired.interval == apart.interval == Interval(-1, 1)


def test_a_model_like_the_published_one_is_seldom_called_different() -> None:
    """Trainings have a spread of 0.03: one in twenty is called so by chance, not one in three."""
    random, (cell,) = np.random.default_rng(0), cells(full_row(n=32))
    drawn = random.normal(0.8, 0.03, (1_000, 4))
    called = 0
    for theirs, *ours in drawn.tolist():
        same = {seed: full_row(n=32, seed=seed, accuracy=share, eval_samples=5_000) for seed, share in enumerate(ours)}
        (compared,) = against_published({cell: same}, {cell: Published(theirs, 0.003)})
        called += compared.verdict == "not reproduced"
    assert called < 60


def test_every_published_cell_is_listed_as_run_or_not() -> None:
    compared = against_published(cells(full_row(n=32)), read_published())
    assert len(compared) == 108
    assert sum(comparison.verdict == "not run" for comparison in compared) == 107


def test_compare_prints_what_is_reproduced_and_writes_it_as_data(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [full_row(n=32, accuracy=0.78), full_row(mode="rag", accuracy=0.9), full_row(size="tiny")]
    table, target = write_full(tmp_path / "ours.csv", *rows), tmp_path / "compared.csv"
    assert main(["compare", str(table), "--csv", str(target)]) == 0
    told = capsys.readouterr().out
    counts = "reproduced: 1; undecided: 0; not reproduced: 0; differs, one training each: 1"
    assert f"2 of 108 published cells were run: {counts}; cells of" in told
    assert "not run: istree two_star cot mamba 1m: n = 16, 64, 128" in told
    assert "teacher-forced" in told
    verdicts = [row["verdict"] for _, row in read_rows(target, ("verdict", "low", "high"))]
    assert {verdict: verdicts.count(verdict) for verdict in set(verdicts)} == {
        "reproduced": 1,
        "differs, one training each": 1,
        "not run": 106,
    }


def test_a_filter_chooses_cells_of_both_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = write_full(tmp_path / "ours.csv", full_row(), full_row(n=32), full_row(n=32, arch="lstm"))
    assert main(["compare", str(table), str(table), "--only", "n=32"]) == 0
    assert "2 cells in both: 0 higher, 0 lower" in capsys.readouterr().out
    assert main(["compare", str(table), "--only", "n=32 arch=mamba size=1m mode=cot lr=0.0003"]) == 0
    assert "1 of 1 published cells were run" in capsys.readouterr().out


def test_rows_that_are_left_out_are_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shorter = [full_row(n=32, samples=1_000, seed=seed, config_hash=f"short {seed}") for seed in (0, 1)]
    ours = write_full(tmp_path / "ours.csv", full_row(n=32), *shorter, full_row(n=32, eval_split="validation", lr=1.0))
    assert main(["compare", str(ours)]) == 0
    told = capsys.readouterr().out
    assert f"left out of {ours}: 2 rows of shorter training\n" in told
    assert f"left out of {ours}: 1 row of another split than test\n" in told


def test_both_numbers_of_training_samples_are_shown_if_they_differ(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ours = write_full(tmp_path / "ours.csv", full_row(), full_row(n=32, eval_split="validation"))
    theirs = write_full(
        tmp_path / "theirs.csv", full_row(samples=128_000), full_row(n=32, eval_split="validation", accuracy=0.5)
    )
    assert main(["compare", str(ours), str(theirs), "--csv", str(tmp_path / "compared.csv")]) == 0
    tests, validation = capsys.readouterr().out.splitlines()[1:3]
    assert "64,000 / 128,000" in tests
    assert "validation" not in tests
    assert validation.startswith("istree two_star (validation) ")
    assert " 64,000 " in validation
    rows = [row for _, row in read_rows(tmp_path / "compared.csv", ("samples", "other_samples", "eval_split"))]
    assert [(row["samples"], row["other_samples"], row["eval_split"]) for row in rows] == [
        ("64000", "128000", "test"),
        ("64000", "64000", "validation"),
    ]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["absent.csv"], "there is no results table absent.csv"),
        ([str(PUBLISHED)], "lacks the column embedding"),
        (["{table}", "{other}"], "have no cell in common"),
        (["{validation}"], "has no row of the test split"),
        (["{table}", "--only", "n=7"], "a.csv matches --only 'n=7'"),
        (["{table}", "--only", "archs=lstm"], "did you mean 'arch'"),
        ([], "TABLE"),
    ],
)
def test_wrong_use_is_one_line(words: list[str], why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    places = {
        "table": write_full(tmp_path / "a.csv", full_row()),
        "other": write_full(tmp_path / "b.csv", full_row(n=32)),
        "validation": write_full(tmp_path / "c.csv", full_row(eval_split="validation")),
    }
    assert main(["compare", *(word.format(**places) for word in words)]) == 2
    told = capsys.readouterr().err
    assert why in told
    assert told.count("\n") == 1
