"""`plot accuracy` draws every row of any table, along any column, with chance, intervals, seeds and ceilings."""

from pathlib import Path
from typing import Any

import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from statsmodels.stats.proportion import proportion_confint

from retrieval_gap.machine.errors import UsageError
from retrieval_gap.plots import accuracy, draw_accuracy
from retrieval_gap.plots.series import X_COLUMNS, Series, SeriesView, read_series
from retrieval_gap.tasks.api import TaskConfig
from retrieval_gap.tasks.registry import load_task
from retrieval_gap.theory.bounds import bound_of
from tests.plots.layout import check_words, legend
from tests.plots.tables import demo_like, grid_like, row, write

RESULTS = Path(__file__).parents[2] / "results"


pytestmark = pytest.mark.usefixtures("styled")


def series(path: Path, rows: list[dict[str, Any]], **view: str) -> Series:
    return read_series(write(path / "t.csv", rows), SeriesView(**view))


def index_row(**changes: Any) -> dict[str, Any]:
    """A row on Index over 4 letters."""
    return row(
        **{"task": "index", "family": "default", "options": "values=4", "mode": "direct", "arch": "lstm"} | changes
    )


def lines(axes: Axes, label: str) -> list[list[float]]:
    return [list(line.get_ydata()) for line in axes.lines if line.get_label() == label]


def caption(figure: Figure) -> str:
    return " ".join(figure.texts[-1].get_text().split())


def test_rows_that_differ_only_in_seed_are_one_point_with_the_envelope_of_their_intervals(tmp_path: Path) -> None:
    rows = [row(seed=seed, accuracy=share) for seed, share in enumerate((0.6, 0.8))]
    ((point,),) = [line.points for line in series(tmp_path, rows).lines]
    assert (point.accuracy, point.low, point.high) == pytest.approx((0.7, 0.58, 0.82))


def test_every_row_of_a_table_is_in_the_figure(tmp_path: Path) -> None:
    rows = grid_like(sizes=("1m", "2m"), ns=(16, 32, 64))
    rows = [each | {"parameters": 1_000_000 if each["size"] == "1m" else 2_000_000} for each in rows]
    for x in ("n", "size", "parameters", "samples", "seed"):
        drawn = [run.row for line in series(tmp_path, rows, x=x).lines for point in line.points for run in point.runs]
        assert len(drawn) == len(rows)


def test_runs_with_a_curriculum_have_their_own_line(tmp_path: Path) -> None:
    rows = [row(n=n, curriculum=curriculum) for n in (16, 32) for curriculum in ("", "4+8")]
    read = series(tmp_path, rows)
    assert [(line.label, len(line.points)) for line in read.lines] == [("", 2), ("curriculum 4+8", 2)]
    assert "curriculum (none, 4+8)" in caption(accuracy.draw_figure(read))


def test_a_warm_up_that_follows_from_the_samples_makes_no_new_line(tmp_path: Path) -> None:
    rows = [row(samples=samples, warmup_samples=samples // 20) for samples in (6400, 64_000)]
    assert [len(line.points) for line in series(tmp_path, rows, x="samples").lines] == [2]
    apart = [row(n=n, warmup_samples=warmup) for n in (16, 32) for warmup in (0, 3200)]
    assert [line.label for line in series(tmp_path, apart).lines] == ["warmup_samples 0", "warmup_samples 3200"]


def test_two_warm_ups_at_each_number_of_samples_are_two_lines(tmp_path: Path) -> None:
    rows = [row(samples=samples, warmup_samples=warmup) for samples in (6400, 64_000) for warmup in (0, 3200)]
    lines = series(tmp_path, rows, x="samples").lines
    assert [(line.label, len(line.points)) for line in lines] == [("warmup_samples 0", 2), ("warmup_samples 3200", 2)]


def test_a_seed_without_a_known_warm_up_joins_the_others(tmp_path: Path) -> None:
    rows = [row(seed=seed, warmup_samples=warmup) for seed, warmup in ((0, ""), (1, 3200))]
    (line,) = series(tmp_path, rows).lines
    assert [len(point.runs) for point in line.points] == [2]


def test_rows_without_a_value_on_the_axis_are_reported(tmp_path: Path) -> None:
    rows = [index_row(state_bits=64), index_row(n=16, state_bits="")]
    figure = accuracy.draw_figure(series(tmp_path, rows, x="state_bits"))
    assert "Not drawn: 1 rows without state_bits" in caption(figure)


def test_a_users_layer_is_drawn_under_the_name_in_its_file(tmp_path: Path) -> None:
    mine = tmp_path / "mine.py"
    mine.write_text('from retrieval_gap.about import About\nABOUT = About(name="My layer", state="fixed")\n')
    rows = [row(arch=arch, n=n) for arch in ("lstm", str(mine), "gone.py") for n in (8, 16)]
    figure = accuracy.draw_figure(series(tmp_path, rows))
    assert set(legend(figure)[:3]) == {"LSTM", "My layer", "gone"}
    assert len({line.get_color() for line in figure.axes[0].lines if line.get_linestyle() == "-"}) == 3


def test_lines_of_one_colour_are_labelled_by_the_settings_that_differ(tmp_path: Path) -> None:
    rows = [row(n=n, lr=lr, size="tiny", arch="lstm") for n in (8, 16) for lr in (0.001, 0.01)]
    rows += [row(n=n, lr=0.003, size="tiny", arch="mamba") for n in (8, 16)]
    read = series(tmp_path, rows)
    assert sorted((line.color, line.label) for line in read.lines) == [
        ("lstm", "lr 0.001"), ("lstm", "lr 0.01"), ("mamba", ""),
    ]  # fmt: skip
    assert "lr (0.001, 0.003, 0.01)" in caption(accuracy.draw_figure(read))


def test_chance_comes_from_the_task_and_ceilings_from_the_bounds(tmp_path: Path) -> None:
    rows = [index_row(n=n, state_bits=8) for n in (8, 16)] + [index_row(n=8, state_bits=4096, size="big")]
    (axes,) = accuracy.draw_figure(series(tmp_path, rows)).axes
    assert lines(axes, "chance") == [[0.25, 0.25]]
    bounds = [bound_of(load_task("index")(TaskConfig(n=n, options="values=4"))) for n in (8, 16)]
    assert lines(axes, "ceiling") == [[float(bound.ceiling(8)) for bound in bounds]]


def test_a_model_that_searches_has_no_ceiling(tmp_path: Path) -> None:
    rows = [index_row(n=n, state_bits=8, mode="rag") for n in (8, 16)]
    (axes,) = accuracy.draw_figure(series(tmp_path, rows)).axes
    assert lines(axes, "ceiling") == []


def test_a_task_whose_file_is_gone_is_drawn_without_chance_and_reported(tmp_path: Path) -> None:
    figure = accuracy.draw_figure(series(tmp_path, [row(task="gone.py", n=n) for n in (8, 16)]))
    assert lines(figure.axes[0], "chance") == []
    assert "Chance is unknown for gone.py" in caption(figure)


def test_tasks_and_views_have_separate_panels(tmp_path: Path) -> None:
    rows = [*demo_like(), index_row(), index_row(mode="rag")]
    for each in rows:
        each.setdefault("options", "")
    figure = accuracy.draw_figure(series(tmp_path, rows, x="size"))
    titles = [axes.get_title().split("\n")[0] for axes in figure.axes if axes.get_title()]
    assert titles == ["Index", "Index", "IsTree", "IsTree", "IsTree"]


SWEPT_X = [x for x in X_COLUMNS if x not in ("size", "tested_n")]  # slanted sizes: boxes overlap, words do not
TRANSFERS = ("istree_transfer", "tracking_demo_transfer", "hotpotqa_demo_transfer", "find_path_demo_transfer")


@pytest.mark.parametrize(
    ("table", "x"),
    [*((name, x) for name in ("theory_demo", "istree_cpu") for x in SWEPT_X), *((t, "tested_n") for t in TRANSFERS)],
)
def test_no_words_overlap_or_are_cut_in_the_committed_tables(table: str, x: str) -> None:
    check_words(accuracy.draw_figure(read_series(RESULTS / f"{table}.csv", SeriesView(x=x))))


def transfer_row(n: int, answer: str, **changes: Any) -> dict[str, Any]:
    """A row of a transfer test."""
    told = {"tested_on": "two_star", "tested_n": n, "options": "names=16", "tested_options": "names=16"}
    return row(n=8, eval_samples=100) | told | {"answer": answer} | changes


def test_a_transfer_test_is_one_point_at_the_size_tested_with_all_its_answers(tmp_path: Path) -> None:
    rows = [
        transfer_row(n, answer, accuracy=share, seed=seed, eval_samples=samples)
        for seed in (0, 1)
        for n, last in ((8, 1.0), (16, 0.5))
        for answer, share, samples in (("[TRUE]", last, 300), ("[FALSE]", 0.2, 100))
    ]
    read = series(tmp_path, rows, x="tested_n")
    assert [(point.x, point.accuracy, len(point.runs)) for (line,) in [read.lines] for point in line.points] == [
        (8, pytest.approx(0.8), 2),
        (16, pytest.approx(0.425), 2),
    ]
    figure = accuracy.draw_figure(read)
    assert "problem size of training" in legend(figure)
    assert any(list(line.get_xdata()) == [8, 8] for line in figure.axes[0].lines)
    assert "400 held-out samples" in caption(figure)


def test_the_answers_of_a_transfer_test_can_be_told_apart(tmp_path: Path) -> None:
    rows = [transfer_row(n, answer) for n in (8, 16) for answer in ("[TRUE]", "[FALSE]")]
    assert {line.color for line in series(tmp_path, rows, x="tested_n", color="answer").lines} == {"[TRUE]", "[FALSE]"}


def test_a_test_with_other_options_is_named_by_what_was_changed(tmp_path: Path) -> None:
    options = "names=16 order=random"
    changes = (options, "names=16 order=last")
    rows = [transfer_row(n, "", options=options, tested_options=told) for n in (8, 16) for told in changes]
    assert {line.label for line in series(tmp_path, rows, x="tested_n").lines} == {"", "tested with order=last"}


def test_each_family_tested_has_a_panel_with_its_own_chance(tmp_path: Path) -> None:
    rows = [transfer_row(n, "", tested_on=family) for n in (8, 16) for family in ("two_star", "path_like")]
    figure = accuracy.draw_figure(series(tmp_path, rows, x="tested_n"))
    assert [axes.get_title() for axes in figure.axes] == ["IsTree\ntested on path like", "IsTree\ntested on two star"]
    assert all(lines(axes, "chance") == [[0.5, 0.5]] for axes in figure.axes)


def test_a_table_that_is_not_of_tests_is_told_which_command_makes_one(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match=r"lacks the column tested_n; `retrieval-gap transfer RUN_DIR\.\.\. --csv FILE`"
    ):
        series(tmp_path, [row()], x="tested_n")


def test_two_rows_of_one_configuration_and_seed_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="two rows of one configuration and seed"):
        series(tmp_path, [row(), row(accuracy=0.9)])


@pytest.mark.parametrize(
    ("view", "told"),
    [
        ({"x": "accuracy"}, r"unknown --x 'accuracy' .*lr, seed, values\)"),
        ({"x": "arch"}, "unknown --x"),
        ({"panel": "hardware"}, r"unknown --panel 'hardware' .*values\)"),
        ({"color": "seed"}, "unknown --color"),
        ({"x": "n", "color": "n"}, "--color n is the x axis already"),
        ({"x": "values", "color": "values"}, "--color values is the x axis already"),
        ({"y": "exact_traces"}, "unknown --y"),
    ],
)
def test_an_invalid_view_is_refused(view: dict[str, str], told: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=told):
        series(tmp_path, [index_row()], **view)


def test_an_option_of_the_task_is_x_or_tells_panels_or_colours_apart(tmp_path: Path) -> None:
    rows = [index_row(options=f"values={v}", n=n, accuracy=v / 100) for v in (4, 16, 64) for n in (8, 16)]
    read = series(tmp_path, rows, x="values")
    assert [[(point.x, point.accuracy) for point in line.points] for line in read.lines] == [
        [(4, 0.04), (16, 0.16), (64, 0.64)]
    ] * 2
    assert {line.label for line in read.lines} == {"n = 8", "n = 16"}
    assert len(read.panels) == 1
    assert series(tmp_path, rows, color="values").colors == ["4", "16", "64"]
    assert len(series(tmp_path, rows, panel="values").panels) == 3
    assert len(accuracy.draw_figure(series(tmp_path, rows, panel="values")).axes) == 3


def test_words_of_an_option_are_ticks(tmp_path: Path) -> None:
    rows = [index_row(options=f"values=4 query={query}", accuracy=0.9) for query in ("last", "first")]
    read = series(tmp_path, rows, x="query")
    assert read.ticks == ["first", "last"]
    axes = accuracy.draw_figure(read).axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["first", "last"]


def test_chance_follows_the_option_that_decides_it(tmp_path: Path) -> None:
    rows = [index_row(options=f"values={v}", n=n, accuracy=0.9) for v in (4, 16) for n in (8, 16)]
    along = accuracy.draw_figure(series(tmp_path, rows, x="values")).axes[0]
    assert lines(along, "chance") == [[1 / 4, 1 / 16]]
    both = accuracy.draw_figure(series(tmp_path, rows, color="values")).axes[0]
    assert lines(both, "chance") == [[1 / 16, 1 / 16], [1 / 4, 1 / 4]]


def test_a_colour_of_rows_without_the_option_has_a_name(tmp_path: Path) -> None:
    rows = [index_row(), row(task="istree", family="two_star", options="", mode="direct", arch="lstm")]
    figure = accuracy.draw_figure(series(tmp_path, rows, color="values"))
    assert {"values 4", "no values"} <= {text.get_text() for key in figure.legends for text in key.get_texts()}


def test_an_option_of_a_transfer_is_what_was_tested(tmp_path: Path) -> None:
    tested = {"tested_on": "default", "tested_n": 8, "answer": ""}
    rows = [
        index_row(options="values=4", tested_options=f"values={v} query=last", accuracy=v / 100, **tested)
        for v in (4, 16)
    ]
    (line,) = series(tmp_path, rows, x="values").lines
    assert [(point.x, point.accuracy) for point in line.points] == [(4, 0.04), (16, 0.16)]


def test_runs_of_one_size_stand_at_its_tick(tmp_path: Path) -> None:
    rows = [index_row(arch=arch, n=8) for arch in ("lstm", "mamba", "gru")]
    axes = accuracy.draw_figure(series(tmp_path, rows)).axes[0]
    low, high = axes.get_xlim()
    places = [x for line in axes.lines for x in line.get_xdata() if line.get_marker() not in ("None", "", None)]
    assert places
    assert max(abs(x - 8) for x in places) < (high - low) / 20


def test_a_table_without_the_column_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="lacks the column lr"):
        series(tmp_path, [row()], x="lr")


def test_the_picture_is_named_by_its_axis(tmp_path: Path) -> None:
    table = write(tmp_path / "t.csv", [index_row(n=n) for n in (8, 16)])
    assert [path.name for path in draw_accuracy(table, SeriesView(), tmp_path)] == [
        "accuracy_by_n.png",
        "accuracy_by_n.svg",
    ]
    assert draw_accuracy(table, SeriesView(panel="values"), tmp_path)[0].name == "accuracy_by_n_panel_values.png"


def test_a_number_of_samples_that_follows_from_n_makes_no_new_line(tmp_path: Path) -> None:
    rows = [row(n=n, samples=1_000 * n, batch_size=2 * n) for n in (8, 16, 32)]
    read = series(tmp_path, rows)
    assert [(line.label, len(line.points)) for line in read.lines] == [("", 3)]
    assert "samples (8000, 16000, 32000)" in caption(accuracy.draw_figure(read))


def test_architectures_differ_in_their_marks_too(tmp_path: Path) -> None:
    rows = [row(arch=arch, n=n) for arch in ("lstm", "mamba", "transformer") for n in (8, 16)]
    rows += [row(arch="mamba", n=n, lr=lr) for n in (8, 16) for lr in (0.001, 0.01)]
    for some in (rows[:6], [each | {"lr": each.get("lr", "")} for each in [*rows[:2], *rows[4:]]]):
        (axes,) = accuracy.draw_figure(series(tmp_path, some)).axes
        drawn = [line for line in axes.lines if line.get_linestyle() == "-"]
        assert len({line.get_marker() for line in drawn}) == len(drawn) > 2


def test_titles_are_no_wider_than_their_panels(tmp_path: Path) -> None:
    options = ("group=S3 elements=all ask=each", "group=Z2 elements=all ask=each", "group=A5 elements=all ask=each")
    rows = [row(task="word_problem", family="default", options=words, mode="direct") for words in options]
    rows.append(row(task="associative_recall", family="hard", options="values=4", mode="direct"))
    figure = accuracy.draw_figure(series(tmp_path, rows))
    check_words(figure)
    assert not any("default" in axes.get_title() for axes in figure.axes)


def test_an_n_that_is_not_a_whole_number_is_reported_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"t\.csv.*n = '8\.0' is not a whole number"):
        accuracy.draw_figure(series(tmp_path, [row(n="8.0"), row(n="16.0")]))


def test_another_share_is_drawn_with_its_own_interval_and_without_chance(tmp_path: Path) -> None:
    rows = [row(n=n, exact_trace=share, eval_samples=100) for n, share in ((8, 1.0), (16, 0.25))]
    drawn = series(tmp_path, rows, y="exact_trace")
    ((first, second),) = [line.points for line in drawn.lines]
    assert (first.accuracy, second.accuracy) == (1.0, 0.25)
    assert (second.low, second.high) == pytest.approx(proportion_confint(25, 100, method="wilson"), abs=1e-6)
    figure = accuracy.draw_figure(drawn)
    assert figure.axes[0].get_ylabel() == "exact traces"
    assert not {"chance", "ceiling"} & {str(line.get_label()) for line in figure.axes[0].lines}


def test_a_legend_by_size_names_the_architecture_that_each_size_is_of(tmp_path: Path) -> None:
    rows = [row(arch="mamba", size="tiny"), row(arch="transformer", size="tiny+positions=alibi")]
    both = legend(accuracy.draw_figure(series(tmp_path, rows, color="size")))
    assert both[:2] == ["Mamba, tiny", "Transformer, tiny+positions=alibi"]
    assert legend(accuracy.draw_figure(series(tmp_path, rows[:1], color="size")))[:1] == ["tiny"]


def test_the_problem_size_of_training_has_a_tick_if_no_test_was_made_there(tmp_path: Path) -> None:
    told = {"tested_on": "two_star", "options": "names=16", "tested_options": "names=16", "answer": "[TRUE]"}
    rows = [row(n=6, tested_n=n, **told) for n in (8, 12, 16)]
    (axes,) = accuracy.draw_figure(series(tmp_path, rows, x="tested_n")).axes
    assert list(axes.get_xticks()) == [6, 8, 12, 16]
