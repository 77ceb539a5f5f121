"""Figures of text memories draw what is in the table, and report or refuse the rest."""

import csv
from importlib import import_module
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from retrieval_gap.machine.errors import UsageError
from retrieval_gap.plots import draw, fig_memory, fig_memory_bits, style
from retrieval_gap.plots.memories import METHODS, SCRIPTED, read_memories
from retrieval_gap.plots.results import RESULTS
from retrieval_gap.text_memory.settings import METHODS as ALL_METHODS
from tests.plots.layout import words
from tests.plots.tables import write


def test_every_method_has_a_name():
    assert set(METHODS) == set(ALL_METHODS)


def test_the_budgets_figure_has_a_point_for_each_run_with_bits_and_the_ceiling_above():
    memories = read_memories(SCRIPTED)
    with style.applied():
        (axes,) = fig_memory_bits.draw_figure(memories).axes
    rows = [row for row in memories.rows if row.benchmark == "recall" and row.part == "all" and row.state_bits]
    drawn = {(float(x), float(y)) for line in axes.lines for x, y in zip(*line.get_data(), strict=True)}
    assert {(row.state_bits, row.score) for row in rows} <= drawn
    assert all(row.score is not None and row.ceiling is not None and row.score <= row.ceiling for row in rows)


def test_the_steps_figure_has_two_panels_per_benchmark_and_a_mark_for_each_difference():
    memories = read_memories(SCRIPTED)
    with style.applied():
        panels = fig_memory.draw_figure(memories).axes
    assert len(panels) == 2 * len(memories.groups())
    for group, axes in zip(memories.groups(), panels[1::2], strict=True):
        named = {label.get_text() for label in axes.get_yticklabels()}
        assert named == {row.name for row in group.rows if row.difference is not None and not row.is_floor}


def test_methods_of_a_panel_are_compared_at_the_largest_budget_that_all_have():
    table = RESULTS / "memory_demo.csv"  # LLM-as-RNN has only 32 tokens, others up to 64
    recall = read_memories(table).only(lambda row: row.benchmark == "recall", "recall", str)
    with style.applied():
        by_step, differences = fig_memory.draw_figure(recall).axes
    assert by_step.get_title().endswith(", 32 tokens")
    drawn = {round(float(x), 6) for line in differences.lines for x in line.get_xdata() if len(line.get_xdata()) == 1}
    at_32 = {row.difference for row in recall.rows if row.part == "all" and row.budget == 32}
    assert {round(value, 6) for value in at_32 if value is not None} <= drawn
    carried = [row.name for row in recall.rows if row.part == "all" and row.budget == 32]
    assert len(carried) == len(set(carried))
    assert set(carried) <= {label.get_text() for label in differences.get_yticklabels()}


def _rows() -> list[dict[str, str]]:
    with SCRIPTED.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _told(rows: list[dict[str, str]], folder: Path) -> str:
    with style.applied():
        figure = fig_memory.draw_figure(read_memories(write(folder / "t.csv", rows)))
    return " ".join(text.get_text() for text in figure.texts).replace("\n", " ")


def test_a_table_with_only_single_steps_is_refused(tmp_path: Path):
    with pytest.raises(UsageError, match="has no row of whole runs"):
        _told([row for row in _rows() if row["part"] != "all"], tmp_path)


def test_the_caption_names_the_methods_with_other_settings(tmp_path: Path):
    alike = [row for row in _rows() if row["feedback"] in ("", "truth") and row["method"] != "search"]
    told = "see the same fields and outcomes, and carry at most the tokens above their panel."
    assert told in _told(alike, tmp_path)
    method = next(row["method"] for row in alike if row["budget"])
    shuffled = [row | {"feedback": "shuffled"} for row in alike if row["method"] == method]
    searched = [row | {"method": "search"} for row in alike if row["method"] == method]
    assert "outcomes, but for feedback: shuffled, and carry at most" in _told([*alike, *shuffled], tmp_path)
    assert "panel, but for search over the whole log (" in _told([*alike, *searched], tmp_path)


def test_a_table_without_recall_is_refused(tmp_path: Path):
    lines = SCRIPTED.read_text().splitlines()
    table = tmp_path / "drift.csv"
    table.write_text("\n".join([lines[0], *(line for line in lines[1:] if line.startswith("drift"))]) + "\n")
    with pytest.raises(UsageError, match="has no row of recall"):
        draw("fig_memory_bits", table, tmp_path)
    assert len(draw("fig_memory", table, tmp_path)) == 2


def recall_rows() -> list[dict[str, str]]:
    with SCRIPTED.open(newline="", encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if row["benchmark"] == "recall"]


def drawn_bits(rows: list[dict[str, str]], folder: Path) -> Figure:
    with style.applied():
        figure = fig_memory_bits.draw_figure(read_memories(write(folder / "t.csv", rows)))
        draw("fig_memory_bits", folder / "t.csv", folder)
    return figure


def test_methods_that_carry_nothing_are_lines_without_an_axis_of_bits(tmp_path: Path):
    zero = [row for row in recall_rows() if row["method"] == "zero_shot"]
    (axes,) = drawn_bits(zero + [row | {"method": "no_update"} for row in zero], tmp_path).axes
    assert axes.get_xscale() == "linear"
    assert not axes.get_xticks().size
    flat = [line for line in axes.lines if len(line.get_xdata())]
    assert [set(line.get_ydata()) for line in flat] == [{float(zero[0]["score"])}] * 2


def test_rows_with_unknown_bits_are_reported_and_not_drawn(tmp_path: Path):
    rows = [row | {"state_bits": ""} for row in recall_rows()]
    budgets = [row for row in rows if row["part"] == "all" and row["budget"]]
    figure = drawn_bits(rows, tmp_path)
    assert f"{len(budgets)} rows of recall in unknown bits" in words(figure)
    assert [text.get_text() for part in figure.legends for text in part.get_texts()][:-1] == ["zero-shot"]
    with pytest.raises(UsageError, match="has no row of recall with known bits"):
        drawn_bits(budgets, tmp_path)


def test_methods_that_carry_the_whole_log_are_drawn_only_beside_known_bits(tmp_path: Path):
    rows = [row for row in recall_rows() if row["part"] == "all" and row["method"] in ("search", "llm_as_rnn")]
    assert "unknown bits" not in words(drawn_bits(rows, tmp_path))
    blank = [row for row in rows if row["budget"] == "32" and row["method"] == "llm_as_rnn"]
    some = [row | {"state_bits": ""} if row in blank else row for row in rows]
    assert f"{len(blank)} rows of recall in unknown bits" in words(drawn_bits(some, tmp_path))
    with pytest.raises(UsageError, match="has no row of recall with known bits"):
        drawn_bits([row for row in rows if row["method"] == "search"], tmp_path)


def of_several_seeds() -> list[dict[str, str]]:
    """Episodes with k = 5: seeds 0 and 1, each with 20 streams, and both together."""
    rows = [row for row in recall_rows() if (row["method"], row["part"]) == ("episodes", "all")]
    assert {row["k"] for row in rows} == {"5"}
    return [row | {"seed": seed, "streams": n} for seed, n in (("0", "20"), ("1", "20"), ("0 1", "40")) for row in rows]


def test_rows_of_several_seeds_replace_those_of_single_seeds(tmp_path: Path):
    rows = of_several_seeds()
    read = read_memories(write(tmp_path / "t.csv", rows))
    assert {row.streams for row in read.rows} == {40}
    assert read.left_out == (f"{2 * len(rows) // 3} rows of a single seed of several",)


SETTINGS = {
    "k": "1", "answer": "score", "data_sha256": "ab", "api": "local", "temperature": "0.7", "draw": "3", "judge": "it",
    "thinking": "off", "steps": "9",
}  # fmt: skip


@pytest.mark.parametrize("column", SETTINGS)
@pytest.mark.parametrize("seed", ["0", "7"])
def test_a_row_of_other_settings_is_never_dropped_as_one_of_several_seeds(column: str, seed: str, tmp_path: Path):
    rows = [{"thinking": ""} | row for row in of_several_seeds()]
    other = rows[0] | {"seed": seed, column: SETTINGS[column]}
    with pytest.raises(UsageError, match=r"differ in \w+ \("):
        read_memories(write(tmp_path / "t.csv", [*rows, other]))


def test_a_seed_that_is_not_among_the_pooled_ones_is_never_dropped(tmp_path: Path):
    rows = of_several_seeds()
    with pytest.raises(UsageError, match=r"differ in streams \("):
        read_memories(write(tmp_path / "t.csv", [*rows, rows[0] | {"seed": "7"}]))


@pytest.mark.parametrize(("name", "panels"), [("fig_memory", 2), ("fig_memory_bits", 1)])
def test_each_model_has_its_own_panels(name: str, panels: int, tmp_path: Path):
    rows = recall_rows()
    others = [row | {"model": "another"} for row in rows if row["model"]]
    with style.applied():
        one, two = (
            import_module(f"retrieval_gap.plots.{name}").draw_figure(read_memories(write(tmp_path / "t.csv", some)))
            for some in (rows, rows + others)
        )
    assert (len(one.axes), len(two.axes)) == (panels, 2 * panels)
    assert any("another" in axes.get_title() for axes in two.axes)
    marks = [sum(len(axes.lines) for axes in figure.axes) for figure in (one, two)]
    assert marks[1] == 2 * marks[0]  # floors too: they belong to every model's panel
