"""Figures show what is in a table: every panel, line, bar and value, and published values beside ours."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from retrieval_gap.machine.errors import UsageError
from retrieval_gap.models import ARCHITECTURES as BUILT_IN
from retrieval_gap.plots import fig2_istree, fig5_istree, fig_arms, figures, style
from retrieval_gap.plots.results import Results, read_results
from tests.plots.layout import check_words, legend, words
from tests.plots.tables import ARCHITECTURES, demo_like, grid_like, row, write

NAMES = ["Transformer", "Hybrid", "Mamba", "LSTM"]


pytestmark = pytest.mark.usefixtures("styled")


def table(path: Path, rows: list[dict[str, Any]]) -> Results:
    return read_results(write(path / "table.csv", rows))


def titles(figure: Figure) -> list[str]:
    return [axes.get_title() for axes in figure.axes if axes.get_title()]


def named(axes: Axes, label: str) -> list[Line2D]:
    return [line for line in axes.lines if line.get_label() == label]


def values(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def test_several_problem_sizes_give_a_line_for_each_model_in_a_panel_for_each_view(tmp_path: Path) -> None:
    figure = fig2_istree.draw_figure(table(tmp_path, grid_like()))
    assert titles(figure) == ["Direct answer", "Chain of thought", "Retrieval"]
    assert legend(figure) == [*NAMES, "chance", style.PUBLISHED]
    for axes in figure.axes:
        assert axes.get_xscale() == "log"
        assert list(axes.get_xticks()) == [16, 32]
        for name in NAMES:
            (line,) = named(axes, f"{name} 1M")
            assert list(line.get_ydata()) == [0.75, 0.75]


def test_equal_points_do_not_hide_one_another(tmp_path: Path) -> None:
    figure = fig2_istree.draw_figure(table(tmp_path, grid_like()))
    firsts = [named(figure.axes[0], f"{name} 1M")[0].get_xdata()[0] for name in NAMES]
    assert firsts == sorted(set(firsts))
    assert all(abs(x / 16 - 1) < 0.15 for x in firsts)


def test_intervals_are_those_of_the_table(tmp_path: Path) -> None:
    rows = [row(n=n, accuracy=0.7, accuracy_low=0.66, accuracy_high=0.73) for n in (8, 16)]
    (axes,) = fig2_istree.draw_figure(table(tmp_path, rows)).axes
    (bars,) = [part for part in axes.collections if isinstance(part, LineCollection)]
    assert [segment[:, 1] for segment in bars.get_segments()] == [pytest.approx([0.66, 0.73])] * 2


def test_model_sizes_of_a_panel_differ_in_mark_and_dash_and_not_in_colour(tmp_path: Path) -> None:
    rows = [row(n=n, size=size) for n in (8, 16) for size in ("0.5m", "1m", "2m")]
    figure = fig2_istree.draw_figure(table(tmp_path, rows))
    lines = [named(figure.axes[0], f"Mamba {size}")[0] for size in ("0.5M", "1M", "2M")]
    assert len({line.get_marker() for line in lines}) == len({line.get_linestyle() for line in lines}) == 3
    assert {line.get_color() for line in lines} == {"#D55E00"}
    assert {"0.5M", "1M", "2M"} <= set(legend(figure))


def test_many_models_give_each_model_size_a_row(tmp_path: Path) -> None:
    figure = fig2_istree.draw_figure(table(tmp_path, grid_like(("0.5m", "2m"))))
    assert len(figure.axes) == 6
    assert [axes.get_ylabel() for axes in figure.axes[::3]] == [
        "0.5M models\naccuracy",
        "2M models\naccuracy",
    ]
    for axes, size in ((figure.axes[0], "0.5M"), (figure.axes[3], "2M")):
        assert all(named(axes, f"{name} {size}") for name in NAMES)


def test_graph_families_have_rows_of_their_own(tmp_path: Path) -> None:
    rows = [row(n=n, family=family) for n in (8, 16) for family in ("two_star", "path_like")]
    figure = fig2_istree.draw_figure(table(tmp_path, rows))
    names = ["two-star graphs\naccuracy", "path-like graphs\naccuracy"]
    assert [axes.get_ylabel() for axes in figure.axes] == names


def test_published_markers_are_hollow_and_drawn_only_for_the_same_cell(tmp_path: Path) -> None:
    figure = fig2_istree.draw_figure(table(tmp_path, grid_like(ns=(16, 24))))
    for axes in figure.axes:
        marks = named(axes, style.PUBLISHED)
        assert len(marks) == 3  # the paper has no LSTM
        assert {mark.get_markerfacecolor() for mark in marks} == {"none"}
        assert all(len(mark.get_xdata()) == 1 for mark in marks)  # nor n = 24
    assert "teacher-forced" in words(figure)


def test_without_published_cells_nothing_mentions_them(tmp_path: Path) -> None:
    figure = fig2_istree.draw_figure(table(tmp_path, grid_like(("tiny",))))
    assert not any(named(axes, style.PUBLISHED) for axes in figure.axes)
    assert style.PUBLISHED not in legend(figure)
    assert "ublished" not in words(figure)


def test_an_absent_table_of_published_values_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("retrieval_gap.plots.results.PUBLISHED", tmp_path / "absent.csv")
    assert "Published values are missing." in words(fig2_istree.draw_figure(table(tmp_path, grid_like())))


def test_one_problem_size_gives_a_list_of_models_with_their_values(tmp_path: Path) -> None:
    figure = fig2_istree.draw_figure(table(tmp_path, demo_like()))
    assert titles(figure) == ["Direct answer", "Chain of thought", "Retrieval"]
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == [f"{name}\n93k parameters" for name in NAMES]
    for axes in figure.axes:
        assert values(axes) == ["0.750"] * 4
        assert [bar.get_x() + bar.get_width() for bar in axes.patches] == [0.75] * 4
    assert figure.get_suptitle() == "IsTree on two-star graphs, 8 nodes, tiny models"


@pytest.mark.parametrize("ns", [(8,), (8, 16)])
def test_every_seed_is_a_dot(tmp_path: Path, ns: tuple[int, ...]) -> None:
    rows = [row(n=n, seed=seed, accuracy=0.6 + seed / 10) for n in ns for seed in range(3)]
    figure = fig2_istree.draw_figure(table(tmp_path, rows))
    dots = named(figure.axes[0], "one seed")
    assert [len(dot.get_xdata()) for dot in dots] == [3] * len(ns)
    assert "one seed" in legend(figure)
    assert "Values are means of the seeds" in words(figure)


def test_missing_cells_are_counted(tmp_path: Path) -> None:
    rows = [r for r in grid_like(("tiny",)) if (r["arch"], r["mode"], r["n"]) != ("lstm", "rag", 32)]
    figure = fig2_istree.draw_figure(table(tmp_path, rows))
    assert "1 of the grid's 24 cells are missing." in words(figure)
    assert list(named(figure.axes[2], "LSTM tiny")[0].get_ydata()) == [0.75]


def test_the_caption_names_samples_settings_and_hardware(tmp_path: Path) -> None:
    rows = [r | {"samples": 80_000} if r["mode"] == "cot" else r for r in demo_like()]
    told = words(fig2_istree.draw_figure(table(tmp_path, [r | {"embedding": "learned"} for r in rows])))
    for part in (
        "1,000 evaluation samples",
        "an undecided answer counts 0.5",
        "direct answer 24,000, chain of thought 80,000, retrieval 24,000",
        "Seeds per cell: 1.",
        "Embedding: learned.",
        "Hardware: Abacus, 2 cores.",
        "95 % Wilson interval",
    ):
        assert part in told


def test_a_users_architecture_has_a_colour_of_its_own(tmp_path: Path) -> None:
    rows = [row(n=n, arch=arch) for n in (8, 16) for arch in (*ARCHITECTURES, "zoo/mingru.py")]
    (axes,) = fig2_istree.draw_figure(table(tmp_path, rows)).axes
    (line,) = named(axes, "mingru tiny")
    assert line.get_color() not in {named(axes, f"{name} tiny")[0].get_color() for name in NAMES}


def test_direct_answers_are_a_group_of_bars_for_each_model(tmp_path: Path) -> None:
    figure = fig5_istree.draw_figure(table(tmp_path, grid_like(("0.5m", "1m"), (16, 32, 64))))
    (axes,) = figure.axes
    assert [bar.get_height() for bar in axes.patches] == [0.75] * 24
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0.5M", "1M"] * 4
    assert values(axes) == NAMES
    assert legend(figure) == ["n = 16", "n = 32", "n = 64", "chance", style.PUBLISHED]
    assert len(named(axes, style.PUBLISHED)) == 18


def test_few_direct_answers_show_their_values(tmp_path: Path) -> None:
    figure = fig5_istree.draw_figure(table(tmp_path, demo_like()))
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_xticklabels()] == NAMES
    assert values(axes) == ["0.750"] * 4
    assert legend(figure) == ["chance"]


def test_rows_that_a_figure_cannot_use_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no row with task=istree"):
        fig2_istree.draw_figure(table(tmp_path, [row(task="index")]))
    with pytest.raises(UsageError, match="no row with task=istree mode=direct"):
        fig5_istree.draw_figure(table(tmp_path, [row(mode="rag")]))


@pytest.mark.parametrize("draw", [fig2_istree.draw_figure, fig5_istree.draw_figure])
@pytest.mark.parametrize("sizes", [("tiny",), ("0.5m", "1m", "2m")])
@pytest.mark.parametrize("ns", [(8,), (16, 32, 64, 128)])
def test_no_words_are_cut_off_or_overlap(
    draw: Callable[[Results], Figure], sizes: tuple[str, ...], ns: tuple[int, ...], tmp_path: Path
) -> None:
    figure = draw(table(tmp_path, grid_like(sizes, ns)))
    check_words(figure)


def test_drawing_leaves_matplotlibs_settings_alone(tmp_path: Path) -> None:
    before = dict(mpl.rcParams)
    with style.applied():
        fig2_istree.draw_figure(table(tmp_path, demo_like()))
    assert dict(mpl.rcParams) == before


def arms_like() -> list[dict[str, Any]]:
    """Both arms at two sizes, the paper's settings trained longer and worse; and rows that belong to neither."""
    return [
        row(arch=arch, size="0.5m", n=n, embedding=embedding, accuracy=accuracy, samples=samples)
        for arch in ("transformer", "mamba")
        for n in (16, 32)
        for embedding, accuracy, samples in (("sinusoidal", 0.5, 1_000_000), ("learned", 0.9, 256_000))
    ] + [row(mode="rag", embedding="learned"), row(task="index", family="default", embedding="learned")]


def test_each_arm_has_a_panel_with_published_values_whatever_its_samples(tmp_path: Path) -> None:
    figure = fig_arms.draw_figure(fig_arms.read_table(write(tmp_path / "t.csv", arms_like())))
    assert titles(figure) == ["The paper's settings", "Tuned alike for all"]
    for axes, accuracy in zip(figure.axes, (0.5, 0.9), strict=True):
        (line,) = named(axes, "Mamba 0.5M")
        assert list(line.get_ydata()) == [accuracy] * 2
        assert len(named(axes, style.PUBLISHED)) == 2
    told = words(figure)
    assert "the paper's settings 1,000,000, tuned alike for all 256,000" in told
    assert "Not drawn: 2 rows of other tasks, views or embeddings." in told


@pytest.mark.parametrize("embedding", ["learned", "sinusoidal"])
def test_a_table_without_one_of_the_arms_says_how_to_join_both(embedding: str, tmp_path: Path) -> None:
    rows = [made for made in arms_like() if made["embedding"] == embedding]
    with pytest.raises(UsageError, match=r"no IsTree row in cot .*`retrieval-gap results --results"):
        fig_arms.read_table(write(tmp_path / "t.csv", rows))


def test_every_figure_has_a_function_that_draws_it() -> None:
    assert {"fig2_istree", "fig5_istree", "fig6_hotpotqa", "fig_state_bits", "fig_retrieval", "idea"} <= set(figures())
    for name in figures():
        assert callable(import_module(f"retrieval_gap.plots.{name}").draw_figure)


def test_keys_of_many_architectures_are_on_the_page(tmp_path: Path) -> None:
    rows = [row(n=n, arch=arch, mode="direct") for n in (8, 16) for arch in (*BUILT_IN, "zoo/a.py", "zoo/b.py")]
    figure = fig2_istree.draw_figure(table(tmp_path, rows))
    check_words(figure)
    looks = {(line.get_color(), line.get_marker()) for line in figure.axes[0].lines if line.get_marker() != "None"}
    assert len(looks) == len(BUILT_IN) + 2
