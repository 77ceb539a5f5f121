"""Two tables side by side: which cells differ by more than chance, which published ones are reproduced."""

from pathlib import Path

import pytest

from retrieval_gap.cli import main
from retrieval_gap.machine.errors import UsageError
from retrieval_gap.statistics.intervals import newcombe_interval, paired_t_interval
from retrieval_gap.tables.compare import (
    Comparison,
    Runs,
    against_published,
    estimate_of,
    pairs,
    read_published,
    runs_by_cell,
)
from retrieval_gap.tables.rows import PUBLISHED, Row, Sourced
from retrieval_gap.tables.texts import read_rows
from tests.tables.result_rows import full_row, write_full


def cells(*rows: Row) -> dict:  # type: ignore[type-arg]
    return runs_by_cell(Sourced(f"row {i}", row) for i, row in enumerate(rows))


def runs(*accuracies: float, first_seed: int = 0) -> Runs:
    seeds = enumerate(accuracies, first_seed)
    return {seed: full_row(seed=seed, accuracy=accuracy) for seed, accuracy in seeds}


def test_one_seed_on_a_side_is_compared_by_its_evaluation_samples() -> None:
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


def test_other_seeds_are_compared_by_their_means() -> None:
    assert estimate_of(runs(0.9, 0.7), runs(0.8, 0.5, 0.6, first_seed=7)).by == "Welch, 2 + 3 seeds"


def test_only_seeds_of_both_tables_are_paired() -> None:
    ours, theirs = (full_row(seed=s) for s in (0, 1, 2)), (full_row(seed=s) for s in (1, 2, 5))
    (comparison,) = pairs(cells(*ours), cells(*theirs))
    assert comparison.seeds == 2
    assert comparison.verdict == "no difference shown"


def test_cells_are_paired_by_their_task_view_size_options_and_model() -> None:
    ours = cells(full_row(), full_row(n=32), full_row(arch="lstm"), full_row(task="index", options="values=4"))
    theirs = cells(full_row(accuracy=0.5), full_row(n=64), full_row(task="index", options="values=8"))
    (comparison,) = pairs(ours, theirs)
    assert (comparison.cell.n, comparison.cell.arch, comparison.verdict) == (16, "mamba", "higher")


def test_the_longest_trained_runs_stand_for_a_cell() -> None:
    ours = cells(full_row(accuracy=0.9), full_row(samples=1_000, accuracy=0.5, config_hash="short"))
    assert [[row["accuracy"] for row in runs.values()] for runs in ours.values()] == [[0.9]]


def test_two_settings_of_one_seed_are_not_averaged() -> None:
    with pytest.raises(UsageError, match="row 0 and row 1 are one cell and seed with other settings"):
        cells(full_row(), full_row(lr=0.001))


def reproduction(accuracy: float, **changes: object) -> dict[str, Comparison]:
    """Mamba 1m in cot at n = 32, published 0.786, and all other cells of the published table, by verdict."""
    ours = cells(full_row(n=32, accuracy=accuracy, **changes))
    return {c.verdict: c for c in against_published(ours, read_published(PUBLISHED))}


def test_a_published_cell_is_reproduced_where_the_difference_may_be_none() -> None:
    # half the width of Newcombe's interval at 1,000 and 5,000 samples is 0.028, and 0.003 the error of reading
    assert reproduction(0.786)["reproduced"].other == 0.786
    assert "reproduced" in reproduction(0.786 - 0.028)
    assert "not reproduced" in reproduction(0.786 - 0.035)
    assert "not reproduced" in reproduction(0.786 + 0.035)


def test_more_samples_make_the_comparison_stricter() -> None:
    assert "not reproduced" in reproduction(0.786 - 0.028, eval_samples=100_000)


def test_every_published_cell_is_told_as_run_or_not() -> None:
    compared = against_published(cells(full_row(n=32)), read_published(PUBLISHED))
    assert len(compared) == 108
    assert sum(comparison.verdict == "not run" for comparison in compared) == 107


def test_compare_prints_what_is_reproduced_and_writes_it_as_data(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [full_row(n=32, accuracy=0.78), full_row(mode="rag", accuracy=0.9), full_row(size="tiny")]
    table, target = write_full(tmp_path / "ours.csv", *rows), tmp_path / "compared.csv"
    assert main(["compare", str(table), "--csv", str(target)]) == 0
    told = capsys.readouterr().out
    assert "2 of 108 published cells were run: 1 reproduced within the interval, 1 not; cells of" in told
    assert "not run: istree two_star cot mamba 1m: n = 16, 64, 128" in told
    assert "teacher-forced" in told
    verdicts = [row["verdict"] for _, row in read_rows(target, ("verdict", "low", "high"))]
    assert {verdict: verdicts.count(verdict) for verdict in set(verdicts)} == {
        "reproduced": 1,
        "not reproduced": 1,
        "not run": 106,
    }


def test_a_filter_chooses_cells_of_both_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = write_full(tmp_path / "ours.csv", full_row(), full_row(n=32), full_row(n=32, arch="lstm"))
    assert main(["compare", str(table), str(table), "--only", "n=32"]) == 0
    assert "2 cells in both: 0 higher, 0 lower" in capsys.readouterr().out
    assert main(["compare", str(table), "--only", "n=32 arch=mamba size=1m mode=cot lr=0.0003"]) == 0
    assert "1 of 1 published cells were run" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["absent.csv"], "there is no results table absent.csv"),
        ([str(PUBLISHED)], "lacks the column embedding"),
        (["{table}", "{other}"], "have no cell in common"),
        (["{table}", "--only", "n=7"], "no row of the table matches"),
        (["{table}", "--only", "archs=lstm"], "did you mean 'arch'"),
        ([], "TABLE"),
    ],
)
def test_wrong_use_is_one_line(words: list[str], why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    places = {
        "table": write_full(tmp_path / "a.csv", full_row()),
        "other": write_full(tmp_path / "b.csv", full_row(n=32)),
    }
    assert main(["compare", *(word.format(**places) for word in words)]) == 2
    told = capsys.readouterr().err
    assert why in told
    assert told.count("\n") == 1
