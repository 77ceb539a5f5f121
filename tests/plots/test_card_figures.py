"""Figures of the card read their tables, show every row, and claim only what the rows support."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

from retrieval_gap.machine.errors import UsageError
from retrieval_gap.plots import by_problem, fig_card, style
from tests.plots import card_tables
from tests.plots.layout import check_words, shown
from tests.plots.tables import write

TABLES: dict[str, Callable[[], list[dict[str, Any]]]] = {
    "fig_lr_window": card_tables.rates,
    "fig_query_first": card_tables.query_first,
    "fig_tracking": card_tables.tracking,
    "fig_last_write": card_tables.last_write,
    "fig_find_path": card_tables.find_path,
    "fig_card": card_tables.card,
}
every_figure = pytest.mark.parametrize("name", TABLES)


def drawn(name: str, rows: list[dict[str, Any]], folder: Path) -> Figure:
    module = import_module(f"retrieval_gap.plots.{name}")
    with style.applied():
        figure: Figure = module.draw_figure(module.read_table(write(folder / "table.csv", rows)))
    return figure


def words(figure: Figure) -> str:
    return "\n".join(text.get_text() for text in shown(figure))


@every_figure
def test_no_words_are_cut_off_or_overlap(name: str, tmp_path: Path) -> None:
    with style.applied():
        check_words(drawn(name, TABLES[name](), tmp_path))


@every_figure
def test_a_table_without_the_figures_rows_or_columns_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    other = [card_tables.run("index", 8)]
    if name == "fig_card":
        other = [{key: value for key, value in other[0].items() if key != "options"}]
    with pytest.raises(UsageError, match=r"table\.csv (lacks the column|has no)") as refused:
        drawn(name, other, tmp_path)
    assert "\n" not in str(refused.value)


def test_windows_show_their_width_and_the_share_of_converged_seeds(tmp_path: Path) -> None:
    told = words(drawn("fig_lr_window", card_tables.rates(), tmp_path))
    assert told.count("0.50 decades, 100% converged") == 2
    assert told.count("\N{GREATER-THAN OR EQUAL TO} 0.50 decades, 100% converged") == 1  # it begins at the lowest rate
    assert told.count("no window, 0% converged") == 1  # though the table has one, as older tables did


def test_a_window_that_ends_at_rates_of_many_digits_is_open(tmp_path: Path) -> None:
    low, high = 3.1622777e-4, 3.1622777e-3
    told = {"tried_lr": f"{low:g} {high:g}", "window_low": low, "window_high": high, "window_decades": 1.0}
    rows = [row | told for row in card_tables.rates() if row["arch"] == "transformer"]
    assert "\N{GREATER-THAN OR EQUAL TO} 1.00 decades" in words(drawn("fig_lr_window", rows, tmp_path))


def test_query_first_has_a_panel_for_each_task_scaled_by_its_own_bits(tmp_path: Path) -> None:
    figure = drawn("fig_query_first", card_tables.query_first(), tmp_path)
    assert [axes.get_title() for axes in figure.axes] == ["Index", "Position retrieval"]
    xs = sorted(float(line.get_xdata()[0]) for line in figure.axes[0].lines if line.get_marker() in ("o", "^"))
    assert xs[0] == pytest.approx(64 / 64)  # index, n = 16, 16 values, asked last
    assert xs[-1] > 1_000


def test_tests_at_other_lengths_are_means_over_answers_and_the_trained_length_is_marked(tmp_path: Path) -> None:
    figure = drawn("fig_tracking", card_tables.tracking(), tmp_path)
    assert [axes.get_title() for axes in figure.axes] == ["Z2, 1.0 bits", "S3, 2.6 bits"]
    line = figure.axes[0].lines[1]
    assert list(line.get_xdata()) == [8, 16, 32]
    assert list(line.get_ydata()) == pytest.approx([1, 0.9, 0.8])
    assert any(list(line.get_xdata()) == [16, 16] for line in figure.axes[0].lines)


def test_the_floor_of_last_writes_is_drawn_and_never_rises_with_n(tmp_path: Path) -> None:
    figure = drawn("fig_last_write", card_tables.last_write(), tmp_path)
    assert [axes.get_title() for axes in figure.axes] == [
        "4 variables of 8 values: 12 bits",
        "8 variables of 8 values: 24 bits",
    ]
    floor = [line for line in figure.axes[0].lines if list(line.get_xdata()) == [16, 32, 64] and line.get_zorder() == 1]
    assert list(floor[0].get_ydata()) == sorted(floor[0].get_ydata(), reverse=True)


def test_each_of_four_ways_to_find_a_path_has_a_panel(tmp_path: Path) -> None:
    figure = drawn("fig_find_path", card_tables.find_path(), tmp_path)
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == ["Direct answer", "Chain of thought", "One call", "Interactive search"]


def test_the_card_shows_the_largest_size_and_a_verdict(tmp_path: Path) -> None:
    told = words(drawn("fig_card", card_tables.card(), tmp_path))
    assert "0.99" not in told  # index at n = 8 is left out, as n = 16 is larger
    assert "Index, n = 16" in told
    assert "12k / 32" in told
    assert "searches" in told


@pytest.mark.parametrize("name", ["fig_lr_window", "fig_tracking"])
def test_a_task_that_is_not_on_this_machine_is_told_with_its_line(name: str, tmp_path: Path) -> None:
    rows = [row | {"task": str(tmp_path / "gone.py")} for row in TABLES["fig_lr_window"]()]
    if name == "fig_tracking":
        rows = [row | {"task": "word_problem", "options": "group=none"} for row in TABLES[name]()]
    with pytest.raises(UsageError, match=r"table\.csv, line 2: ") as refused:
        drawn(name, rows, tmp_path)
    assert "\n" not in str(refused.value)


def test_options_with_an_open_quote_are_reported_with_their_line(tmp_path: Path) -> None:
    (run,) = by_problem.read_runs(write(tmp_path / "one.csv", [card_tables.run("index", 16, 'values="4')])).rows
    with pytest.raises(UsageError, match=r"one\.csv, line 2: options = .* is invalid: No closing quotation"):
        run.problem.option("values")


def test_a_graph_family_without_a_bound_has_the_verdict_open(tmp_path: Path) -> None:
    row = card_tables.run("istree", 16, family="random_tree", accuracy=0.5)
    (run,) = by_problem.read_runs(write(tmp_path / "one.csv", [row])).rows
    assert run.problem.bound is None
    assert fig_card.verdict(by_problem.ProblemMean((run,))) == "open"


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({"accuracy": 0.95}, "right"),
        ({"accuracy": 0.5}, "learn"),
        ({"accuracy": 0.5, "state_bits": 31}, "cannot"),
        ({"accuracy": 0.5, "state_bits": 32}, "learn"),
        ({"accuracy": 0.5, "state_bits": 31, "mode": "rag"}, "learn"),
        ({"accuracy": 0.5, "state_bits": 31, "arch": "transformer"}, "learn"),
        ({"accuracy": 0.5, "state_bits": ""}, "open"),
        ({"accuracy": 0.5, "state_bits": 31, "options": "values=4 query=first"}, "learn"),
    ],
)
def test_the_verdict_cannot_is_given_only_below_the_bits_needed(
    changes: dict[str, Any], verdict: str, tmp_path: Path
) -> None:
    row = card_tables.run("index", 16, **{"options": "values=4", **changes})
    (run,) = by_problem.read_runs(write(tmp_path / "one.csv", [row])).rows
    assert fig_card.verdict(by_problem.ProblemMean((run,))) == verdict


def test_models_of_one_architecture_are_told_apart_by_what_differs() -> None:
    models = [("lstm", "tiny+d_hidden=4"), ("lstm", "tiny+d_hidden=16"), ("mamba", "tiny")]
    assert [by_problem.label(model, models) for model in models] == ["LSTM d_hidden=4", "LSTM d_hidden=16", "Mamba"]
    assert len({mark for _, mark in by_problem.looks(models).values()}) == 3


def test_test_samples_are_drawn_if_a_model_has_any_and_others_are_reported(tmp_path: Path) -> None:
    rows = [
        card_tables.run("index", 16, "values=4", arch=arch, lr=lr, seed=seed, accuracy=accuracy, eval_split=split)
        for arch, lr, seed, accuracy, split in (
            ("lstm", 0.001, 0, 0.99, "validation"),
            ("lstm", 0.003, 0, 0.98, "validation"),
            ("lstm", 0.003, 2, 0.71, "test"),
            ("lstm", 0.003, 3, 0.73, "test"),
        )
    ]
    told = words(drawn("fig_card", rows, tmp_path)).replace("\n", " ")
    assert "0.72" in told
    assert "0.99" not in told
    assert "2 seeds" in told
    assert "2 rows of validation samples (test samples are at hand)" in told
    figure = drawn("fig_card", [*rows, rows[0] | {"arch": "mamba", "accuracy": 0.55}], tmp_path)
    slanted = [text.get_text() for text in figure.axes[0].texts if text.get_style() == "italic"]
    assert slanted == ["0.55"]
    assert "Italic: validation samples" in words(figure)
    assert "Validation samples" in words(drawn("fig_card", rows[:2], tmp_path))


def test_a_model_without_the_largest_size_is_shown_at_its_own_largest(tmp_path: Path) -> None:
    rows = [
        card_tables.run("index", n, "values=4", arch=arch) for arch, n in (("lstm", 8), ("mamba", 8), ("mamba", 16))
    ]
    told = words(drawn("fig_card", rows, tmp_path))
    assert "LSTM" in told
    assert "n = 8\n12k / 16" in told
    assert "1 row of a smaller n" in told


def test_sizes_are_sorted_by_number_and_many_headings_do_not_overlap(tmp_path: Path) -> None:
    widths = (1, 16, 2, 32, 4, 64, 8, 128, 256)
    rows = [card_tables.run("index", 16, "values=4", size=f"tiny+n_layers=1+d_hidden={k}") for k in widths]
    rows += [card_tables.run("index", 16, "values=4", arch=arch) for arch in ("mamba", "transformer")]
    assert [size for _, size in by_problem.models_of(by_problem.read_runs(write(tmp_path / "t.csv", rows)).rows)][
        2:
    ] == [f"tiny+n_layers=1+d_hidden={k}" for k in sorted(widths)]
    check_words(drawn("fig_card", rows, tmp_path))


def test_models_of_equal_accuracy_are_side_by_side_and_seeds_are_counted_per_point(tmp_path: Path) -> None:
    figure = drawn("fig_lr_window", [row | {"accuracy": 1.0} for row in card_tables.rates()], tmp_path)
    firsts = [
        line.get_xdata()[0]
        for line in figure.axes[0].lines
        if line.get_linestyle() == "-" and len(line.get_xdata()) == 4
    ]
    assert len(set(firsts)) == len(firsts) == 3
    assert all(0.5e-3 < x < 2e-3 for x in firsts)
    assert "one seed" in words(figure)
    told = words(figure).replace("\n", " ")
    assert "2 fresh seeds" in told
    assert ", 2 seeds." in told


def test_problems_with_different_options_have_different_titles(tmp_path: Path) -> None:
    rows = [row | {"options": f"values={v}"} for row in card_tables.rates() for v in (4, 8)]
    titles = [axes.get_title() for axes in drawn("fig_lr_window", rows, tmp_path).axes if axes.get_title()]
    assert titles == [f"Associative recall, n = 16\nvalues={v}" for v in (4, 8)]


def test_problems_that_differ_in_more_than_the_query_have_separate_panels(tmp_path: Path) -> None:
    rows = card_tables.query_first()
    index = [row for row in rows if row["task"] == "index"]
    rows = [row for row in rows if row["task"] != "index"]
    rows += [row | {"options": f"values={v} {row['options']}".strip()} for v in (4, 16) for row in index]
    titles = [axes.get_title() for axes in drawn("fig_query_first", rows, tmp_path).axes]
    assert titles == ["Position retrieval", "Index\nvalues=4", "Index\nvalues=16"]
