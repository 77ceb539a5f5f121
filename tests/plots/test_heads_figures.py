"""Figures of heads draw what their tables say, and refuse tables that lack it."""

from pathlib import Path
from typing import Any

import pytest

from retrieval_gap.experiments.heads.compare import TABLE_COLUMNS
from retrieval_gap.heads import head_names
from retrieval_gap.machine.errors import UsageError
from retrieval_gap.plots import draw, fig_heads, fig_middle, fig_order
from retrieval_gap.plots.heads_published import read_gains
from retrieval_gap.plots.heads_table import READING_ORDER, head_looks, read_heads
from retrieval_gap.tables.rows import write_table
from tests.plots.layout import check_words

SCORES = {"attention": 0.55, "bigru": 0.9, "mean": 0.52}


def head_row(head: str, **changes: Any) -> dict[str, Any]:
    score = changes.pop("score", SCORES[head])
    row: dict[str, Any] = {
        "dataset": "which_came_first", "n": 32, "label_kind": "text", "metric": "accuracy", "model": "MiniLM",
        "layer": -1, "half": "encoder", "copies": 1, "tune_lr": "", "head": head, "control": "none", "window": 0,
        "parameters": 100_000,
        "seeds": 3, "train_examples": 1500, "test_examples": 600, "place": "", "score": score,
        "score_low": score - 0.02,
        "score_high": score + 0.02, "majority": 0.5, "bag_of_words": 0.5, "first_token": 0.5, "versus": "",
    }  # fmt: skip
    return row | changes


def _difference(value: float) -> dict[str, Any]:
    ends = {"difference_low": value - 0.03, "difference_high": value + 0.03}
    return {"difference": value, **ends, "detectable": 0.04, "p": 0.01, "p_holm": 0.02}


def _table(folder: Path, *rows: dict[str, Any]) -> Path:
    write_table(folder / "heads.csv", TABLE_COLUMNS, rows)
    return folder / "heads.csv"


ROWS = [
    head_row("attention"),
    head_row("mean", versus="head attention", **_difference(-0.03)),
    head_row("bigru", versus="head attention", **_difference(0.35)),
    head_row("bigru", versus="shuffled states", **_difference(0.34)),
    *(head_row("bigru", control="shuffle_states", window=window, score=0.55) for window in (0, 2, 4)),
    *(head_row(head, dataset="negation_scope", place=place) for head in ("mean", "bigru") for place in (0, 5, 9)),
    head_row("mean", dataset="negation_scope"),
]


@pytest.mark.parametrize("figure", ["fig_heads", "fig_order", "fig_middle"])
def test_a_figure_is_drawn_and_is_the_same_each_time(figure: str, tmp_path: Path) -> None:
    table = _table(tmp_path, *ROWS)
    one, other = (draw(figure, table, tmp_path / name) for name in ("one", "other"))
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in other]


def test_differences_are_drawn_at_their_values(tmp_path: Path) -> None:
    figure = fig_heads.draw_figure(fig_heads.read_table(_table(tmp_path, *ROWS)))
    axes, published = (each for each in figure.axes if each.get_visible())
    gains = [float(line.get_xdata()[0]) for line in published.lines if line.get_marker() == "D"]
    assert gains == pytest.approx([0.0535, 0.0395, 0.0212])
    drawn = sorted(float(line.get_xdata()[0]) for line in axes.lines if line.get_marker() in ("o", "s"))
    assert drawn == pytest.approx([-0.03, 0.34, 0.35])


def test_a_published_gain_without_a_base_has_no_interval_and_the_others_have_one() -> None:
    gains = read_gains()
    assert [gain.difference is None for gain in gains] == [False, False, False, True]
    assert gains[2].reach == pytest.approx(0.0249, abs=1e-4)  # 2.12 points: z = 1.7
    assert gains[3].reach == 0


def test_a_tuned_model_has_its_own_panel(tmp_path: Path) -> None:
    rows = [head_row("bigru", tune_lr=lr, versus="head attention", **_difference(0.1)) for lr in ("", 1e-4)]
    figure = fig_heads.draw_figure(fig_heads.read_table(_table(tmp_path, *rows)))
    titles = [axes.get_title() for axes in figure.axes if axes.get_visible()]
    assert titles[:2] == ["which came first, 32 words\nmodel frozen", "which came first, 32 words\nmodel tuned"]


def test_scores_are_drawn_from_no_shuffle_to_a_full_one(tmp_path: Path) -> None:
    figure = fig_order.draw_figure(fig_order.read_table(_table(tmp_path, *ROWS)))
    (axes,) = figure.axes
    scores = [list(line.get_ydata()) for line in axes.lines if len(line.get_xdata()) == 4]
    assert scores == [pytest.approx([0.9, 0.55, 0.55, 0.55])]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["none", "2", "4", "all"]


def test_scores_by_place_are_drawn_at_their_tenths(tmp_path: Path) -> None:
    figure = fig_middle.draw_figure(fig_middle.read_table(_table(tmp_path, *ROWS)))
    (axes,) = figure.axes
    assert len([line for line in axes.lines if len(line.get_xdata()) == 3]) == 2


@pytest.mark.parametrize(
    ("figure", "kept", "said"),
    [
        (fig_heads, slice(0, 1), "has no heads to compare"),
        (fig_order, slice(0, 1), "has no shuffled states"),
        (fig_middle, slice(0, 1), "no set in which one sentence decides"),
    ],
)
def test_a_table_without_the_rows_of_a_figure_is_refused(tmp_path: Path, figure: Any, kept: slice, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        figure.draw_figure(figure.read_table(_table(tmp_path, *ROWS[kept])))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"score": 1.5}, "score = '1.5' is not a share between 0 and 1"),
        ({"versus": "head attention"}, "difference = '' is not a number"),
        ({"versus": "head attention", **_difference(2.0)}, "difference = 2.0 is out of range"),
        ({"n": "many"}, "n = 'many' is not a whole number"),
    ],
)
def test_an_impossible_value_is_refused_with_its_line(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said) as told:
        fig_heads.read_table(_table(tmp_path, head_row("bigru", **change)))
    assert "heads.csv, line 2" in str(told.value)


def test_models_have_separate_panels_and_the_caption_names_them(tmp_path: Path) -> None:
    rows = [head_row("bigru", model=name, versus="head attention", **_difference(0.1)) for name in ("one", "other")]
    figure = fig_heads.draw_figure(fig_heads.read_table(_table(tmp_path, *rows)))
    titles = [axes.get_title() for axes in figure.axes if axes.get_visible()]
    assert titles[:2] == ["which came first, 32 words\none", "which came first, 32 words\nother"]
    assert any("Token states of one and other, frozen" in text.get_text() for text in figure.texts)


def test_a_table_from_before_models_were_tuned_is_read_too(tmp_path: Path) -> None:
    table = _table(tmp_path, *ROWS)
    new = read_heads(table)
    lines = [line.split(",") for line in table.read_text().splitlines()]
    place = lines[0].index("tune_lr")
    table.write_text("\n".join(",".join([*line[:place], *line[place + 1 :]]) for line in lines))
    assert read_heads(table) == new


def test_heads_trained_differently_have_separate_panels(tmp_path: Path) -> None:
    rows = [row | {"steps": steps} for row in ROWS for steps in (400, 1500)]
    figure = fig_order.draw_figure(read_heads(_table(tmp_path, *rows)))
    assert [axes.get_title() for axes in figure.axes] == [
        "which came first, 32 words\nsteps 400",
        "which came first, 32 words\nsteps 1500",
    ]


def test_generated_sets_come_before_those_from_files_and_the_model_with_most_sets_first(tmp_path: Path) -> None:
    sets = [("small", "copa", 0), ("large", "copa", 0), ("large", "topic", 32), ("large", "nth_item", 32)]
    rows = [row | {"model": model, "dataset": name, "n": n} for row in ROWS for model, name, n in sets]
    figure = fig_order.draw_figure(read_heads(_table(tmp_path, *rows)))
    titles = [axes.get_title().replace("\n", ", ") for axes in figure.axes]
    assert titles == ["topic, 32 words, large", "nth item, 32 words, large", "copa, large", "copa, small"]


def test_every_head_has_a_place_in_the_reading_order() -> None:
    assert set(READING_ORDER) == set(head_names())


def test_the_legend_names_only_the_marks_that_are_drawn(tmp_path: Path) -> None:
    def keys(*rows: dict[str, Any]) -> list[str]:
        figure = fig_heads.draw_figure(fig_heads.read_table(_table(tmp_path, *rows)))
        return [text.get_text().partition(":")[0] for part in figure.legends for text in part.get_texts()]

    order, control = "minus itself on shuffled states", "minus a head that sees no order"
    published = "published, minus a base that others trained"
    assert keys(*ROWS) == [control, order, published]
    assert keys(*ROWS[:3]) == [control, published]
    assert keys(ROWS[0], ROWS[3]) == [order, published]


@pytest.mark.parametrize("sets", [1, 5])
def test_no_published_mark_lies_on_a_name(sets: int, tmp_path: Path) -> None:
    rows = [row | {"dataset": f"set_{i}_of_heads_that_has_a_long_name"} for row in ROWS[1:4] for i in range(sets)]
    figure = fig_heads.draw_figure(fig_heads.read_table(_table(tmp_path, *rows)))
    check_words(figure)
    published = next(each for each in figure.axes if each.get_title().startswith("published"))
    half = 5.3 / 72 * figure.dpi  # half the diagonal of a mark
    marks = [line for line in published.lines if line.get_marker() == "D"]
    for text in published.texts:
        box = text.get_window_extent()
        for mark in marks:
            x, y = published.transData.transform((mark.get_xdata()[0], mark.get_ydata()[0]))
            assert not (box.x0 - half < x < box.x1 + half and box.y0 - half < y < box.y1 + half), text.get_text()


def test_no_two_heads_look_alike() -> None:
    looks = head_looks([*READING_ORDER, "mine.py"])
    assert len({(look["color"], look["marker"]) for look in looks.values()}) == len(looks)
    assert len({(look["color"], look["linestyle"]) for look in looks.values()}) == len(looks)
