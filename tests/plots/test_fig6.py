"""Figure 6 shows what is in its tables, in the right panel, and says what is missing."""

from pathlib import Path
from typing import Any

import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from retrieval_gap.machine.errors import UsageError
from retrieval_gap.plots import fig6_hotpotqa
from retrieval_gap.plots.fig6_hotpotqa import PANELS, draw_figure, read_table
from retrieval_gap.plots.results import read_rows
from tests.plots.layout import check_words, line
from tests.plots.tables import row, write

OPTIONS = "data= facts=4 order={} distractors=own variant={} fewest=2"


pytestmark = pytest.mark.usefixtures("styled")


def made_row(*, order: str = "random", variant: str = "plain", **changes: Any) -> dict[str, Any]:
    cell = {"task": "hotpotqa", "mode": "rag", "tested_n": 4, "tested_options": OPTIONS.format(order, variant)}
    return row(**(cell | changes))


def drawn(path: Path, rows: list[dict[str, Any]]) -> Figure:
    return draw_figure(read_table(write(path / "t.csv", [made_row(**changes) for changes in rows])))


def axes_of(figure: Figure, title: str) -> Axes:
    (found,) = [axes for axes in figure.axes if axes.get_title() == title]
    return found


def words(figure: Figure) -> str:
    return " ".join(text.get_text() for part in (figure, *figure.axes) for text in part.texts)


def test_every_point_is_in_the_panel_of_its_order_and_variant_at_its_n(tmp_path: Path) -> None:
    places = list(PANELS)
    rows = [
        {"order": order, "variant": variant, "tested_n": n, "accuracy": 0.1 * n + 0.01 * column}
        for column, (order, variant) in enumerate(places)
        for n in (2, 4, 6, 8)
    ]
    figure = drawn(tmp_path, rows)
    for column, title in enumerate(PANELS.values()):
        points = line(axes_of(figure, title), "Mamba")
        assert [round(x) for x, _ in points] == [2, 4, 6, 8]
        assert [share for _, share in points] == pytest.approx([0.1 * n + 0.01 * column for n in (2, 4, 6, 8)])
    check_words(figure)


def test_seeds_are_averaged_and_a_panel_without_rows_says_so(tmp_path: Path) -> None:
    figure = drawn(tmp_path, [{"seed": 0, "accuracy": 0.4}, {"seed": 1, "accuracy": 0.6}])
    ((_, share),) = line(axes_of(figure, "Gold in random places"), "Mamba")
    assert share == pytest.approx(0.5)
    assert "not run" in words_of(axes_of(figure, "Gold last"))
    assert "47 of 48 points of small models are missing" in words(figure)
    assert "2 seeds" in words(figure)


def words_of(axes: Axes) -> str:
    return " ".join(text.get_text() for text in axes.texts)


def test_published_values_are_drawn_where_the_paper_has_them(tmp_path: Path) -> None:
    figure = drawn(tmp_path, [{}])
    bottom = figure.axes[len(PANELS) :]
    marks = [{(x, y) for each in axes.lines for x, y in zip(*each.get_data(), strict=True)} for axes in bottom[:2]]
    assert {(8, 0.7486), (8, 0.6714), (8, 0.5314)} < marks[0]
    assert {(8, 0.9314), (8, 0.8886), (8, 0.7914)} < marks[1]
    rows = read_rows(fig6_hotpotqa.PUBLISHED, ("order", "n_paragraphs", "accuracy"))
    assert len(rows) == 24
    assert all(float(row["accuracy"]) == 1 for _, row in rows if row["n_paragraphs"] == "2")


def test_pretrained_models_have_a_line_for_each_method_and_selection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = {"model": "some-model", "order": "random", "variant": "plain", "distractors": "own", "questions": 100}
    rows = [
        cell | {"method": method, "n_paragraphs": n, "selected": selected, "exact_match": s, "low": s, "high": s}
        for method, selected, s in (("cot", 0, 0.4), ("cot", 1, 0.8), ("bm25", 0, 0.6))
        for n in (2, 8)
    ]  # fmt: skip
    rows.append(rows[0] | {"distractors": "other", "exact_match": 0})
    monkeypatch.setattr(fig6_hotpotqa, "PRETRAINED", write(tmp_path / "p.csv", rows))
    figure = drawn(tmp_path, [{}])
    lines = [each for each in figure.axes[len(PANELS)].lines if each.get_label() == "some-model"]
    assert sorted(each.get_ydata()[0] for each in lines) == [0.4, 0.6, 0.8]
    assert [each.get_linestyle() for each in lines if each.get_ydata()[0] == 0.8] == ["--"]


def test_points_of_few_questions_are_not_joined_and_of_very_few_have_no_interval(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = {"model": "some-model", "order": "random", "variant": "plain", "distractors": "own", "method": "cot"}
    rows = [
        cell | {"n_paragraphs": n, "selected": selected, "questions": count, "exact_match": 0, "low": 0, "high": high}
        for selected, count, high in ((0, 8, 0.32), (1, 1, 0.79))
        for n in (2, 8)
    ]
    monkeypatch.setattr(fig6_hotpotqa, "PRETRAINED", write(tmp_path / "p.csv", rows))
    figure = drawn(tmp_path, [{}])
    axes = figure.axes[len(PANELS)]
    lines = [each for each in axes.lines if each.get_label() == "some-model"]
    assert [each.get_linestyle() for each in lines] == ["None", "None"]
    highest = {top for each in axes.collections for bar in each.get_segments() for _, top in bar}  # type: ignore[attr-defined]
    assert max(highest) == pytest.approx(0.32)
    assert "fewer than 30 are not joined" in words(figure)


def test_evidence_has_rows_of_its_own_where_the_table_has_it(tmp_path: Path) -> None:
    figure = drawn(tmp_path, [{"mode": "rag", "accuracy": 0.75, "exact_trace": 0.5, "eval_samples": 300}])
    shown = [axes.get_ylabel().replace("\n", " ") for axes in figure.axes[:: len(PANELS)]]
    assert shown[:2] == ["Made-up worlds Retrieval accuracy", "Made-up worlds Retrieval evidence"]
    ((_, accuracy),), ((_, evidence),) = (line(figure.axes[place], "Mamba") for place in (0, len(PANELS)))
    assert (accuracy, evidence) == (0.75, 0.5)


def test_a_table_without_hotpotqa_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no row with task=hotpotqa"):
        read_table(write(tmp_path / "t.csv", [made_row() | {"task": "istree"}]))
