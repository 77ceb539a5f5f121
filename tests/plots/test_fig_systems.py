"""All systems on one axis: rows are at their own bits, none is above its ceiling, none is left out in silence."""

from pathlib import Path
from typing import Any

import pytest

from retrieval_gap.machine.errors import UsageError
from retrieval_gap.plots.fig_systems import DEFAULT_TABLE, System, SystemPoint, draw_figure, read_table
from tests.plots.layout import check_words, shown
from tests.plots.tables import probe_row, row, write
from tests.plots.test_construction_figures import built

pytestmark = pytest.mark.usefixtures("styled")

READ_ONCE, SEARCHES = 0, 1


@pytest.fixture(scope="module")
def committed() -> list[SystemPoint]:
    return read_table(DEFAULT_TABLE).points


def trained(n: int, seed: int, accuracy: float, **changes: Any) -> dict[str, Any]:
    """An LSTM of 64 bits on Index over 4 letters."""
    recall = {"task": "index", "family": "default", "options": "values=4", "mode": "direct", "state_bits": 64}
    return row(n=n, seed=seed, accuracy=accuracy, arch="lstm", **recall | changes)


def folder_of(folder: Path, **tables: list[dict[str, Any]]) -> Path:
    for name, rows in tables.items():
        write(folder / f"{name}.csv", rows)
    return folder


def test_bits_are_for_each_bit_of_the_sequence_and_accuracy_is_above_a_guess(tmp_path: Path) -> None:
    rows = [trained(8, 0, 0.5), trained(8, 1, 0.75)]
    (point,) = read_table(folder_of(tmp_path, theory_demo=rows)).points
    assert point.state_bits == 64 / (8 * 2)  # 8 letters of 2 bits
    assert point.accuracy == pytest.approx((0.625 - 0.25) / 0.75)
    assert (point.low, point.high) == pytest.approx(((0.48 - 0.25) / 0.75, (0.77 - 0.25) / 0.75))
    axes = draw_figure(read_table(tmp_path)).axes[READ_ONCE]
    assert any(list(line.get_xdata()) == [4.0] and line.get_marker() != "." for line in axes.lines)


def test_a_run_in_two_tables_is_one_seed(tmp_path: Path) -> None:
    rows = [trained(8, 0, 0.5), trained(8, 1, 0.75)]
    (point,) = read_table(folder_of(tmp_path, theory_demo=rows, theory_cpu=rows[:1])).points
    assert point.accuracy == pytest.approx((0.625 - 0.25) / 0.75)


def test_no_reader_without_a_search_is_above_its_ceiling(committed: list[SystemPoint]) -> None:
    kinds = {point.system.kind for point in committed if not point.searches}
    assert kinds == {"trained", "rounded", "constructed", "memory"}
    for point in committed:
        if not point.searches:
            assert point.low <= point.problem.highest(point.state_bits) + 1e-9, point


def test_with_searches_the_constructed_recurrence_is_right_below_one_bit_for_a_bit(
    committed: list[SystemPoint],
) -> None:
    built = [point for point in committed if point.system == System("constructed", "rnn_rag")]
    assert min(point.state_bits for point in built) == pytest.approx(60 / 2000)  # Index, n = 1000: see the table
    assert {point.accuracy for point in built} == {1.0}
    assert any(point.problem.highest(point.state_bits) < 0.2 for point in built)
    axes = draw_figure(read_table(DEFAULT_TABLE)).axes[SEARCHES]
    assert any(
        min(line.get_xdata(), default=9) == pytest.approx(0.03) and line.get_marker() == "o" for line in axes.lines
    )


def test_the_words_of_the_committed_figure_are_on_its_page() -> None:
    check_words(draw_figure(read_table(DEFAULT_TABLE)))


def test_rows_that_are_not_drawn_are_counted(tmp_path: Path) -> None:
    runs = [
        trained(8, 0, 0.5),
        trained(8, 0, 0.9, task="counting", options="most=2"),
        trained(8, 1, 0.5, state_bits=""),
    ]
    probed = [probe_row(bits=4, rank=4, state_bits=16), probe_row(mode="rag")]
    builds = [built("rnn_rag", 16, mode="rag"), built("rnn_rag", 16, task="copy"), built("gru", 16)]
    systems = read_table(folder_of(tmp_path, theory_demo=runs, theory_demo_probe=probed, constructions=builds))
    assert len(systems.points) == 3
    told = " ".join(" ".join(text.get_text().split()) for text in shown(draw_figure(systems)))
    assert "Not drawn: 4 rows of other tasks, 1 row of models whose bits are not known." in told


def test_a_folder_without_tables_of_recall_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"is not a folder with results of recall .*theory_demo\.csv"):
        read_table(tmp_path)
