"""Figures of accuracy against bits show what is in a table of probes, and the bounds beside it."""

import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from retrieval_gap.machine.errors import UsageError
from retrieval_gap.models import ARCHITECTURES
from retrieval_gap.plots import (
    fig_bits_used,
    fig_retrieval,
    fig_size_reached,
    fig_state_bits,
    fig_transfer,
)
from retrieval_gap.plots.probes import Probes, frontier, least_bits, read_probes
from retrieval_gap.plots.results import read_results
from tests.plots.layout import check_words, legend, line
from tests.plots.tables import probe_like, probe_row, row, write

pytestmark = pytest.mark.usefixtures("styled")


def probes(path: Path, rows: list[dict[str, Any]]) -> Probes:
    return read_probes(write(path / "probe.csv", rows))


def test_the_curve_of_an_n_is_the_best_within_the_bits_and_the_ceiling_is_the_bounds(tmp_path: Path) -> None:
    table = probes(tmp_path, probe_like(ns=(8,)))
    (axes,) = fig_state_bits.draw_figure(table).axes
    best = line(axes, "n = 8")
    assert best[:4] == [(4, 0.3125), (8, 0.375), (16, 0.5), (64, 0.625)]
    ceiling = line(axes, "ceiling")
    assert ceiling[0] == (1, float(table.bound(8).ceiling(1)))
    assert [share for bits, share in ceiling if bits >= 16] == [1.0] * len([1 for bits, _ in ceiling if bits >= 16])
    assert all(share < 1 for bits, share in ceiling if bits < 16)


def test_each_n_has_a_colour_and_intervals_are_the_envelope_of_the_seeds(tmp_path: Path) -> None:
    rows = [probe_row(seed=seed, accuracy_strict=share) for seed, share in enumerate((0.4, 0.5))]
    table = probes(tmp_path, [*rows, *probe_like(ns=(16, 40))])
    assert legend(fig_state_bits.draw_figure(table))[:3] == ["n = 8", "n = 16", "n = 40"]
    mean = next(mean for mean in table.means if mean.runs[0].n == 8)
    assert (mean.accuracy, mean.low, mean.high) == pytest.approx((0.45, 0.38, 0.52))


def test_a_frontier_leaves_out_points_where_more_bits_do_not_help(tmp_path: Path) -> None:
    shares = {4: 0.4, 8: 0.3, 16: 0.4, 32: 0.6}
    table = probes(tmp_path, [probe_row(state_bits=bits, bits=1, accuracy_strict=s) for bits, s in shares.items()])
    assert [(mean.state_bits, mean.accuracy) for mean in frontier(table.means)] == [(4, 0.4), (32, 0.6)]


def test_the_fewest_bits_of_an_accuracy_are_those_whose_ceiling_reaches_it(tmp_path: Path) -> None:
    bound = probes(tmp_path, [probe_row()]).bound(8)
    assert least_bits(bound, 1.0) == 16
    assert least_bits(bound, 0.25) == 0
    for accuracy in (0.3, 0.5, 0.9, 0.99):
        bits = least_bits(bound, accuracy)
        assert float(bound.ceiling(bits)) >= accuracy > float(bound.ceiling(bits - 1))


def test_a_length_is_reached_only_if_accuracy_is_enough(tmp_path: Path) -> None:
    (axes,) = fig_size_reached.draw_figure(probes(tmp_path, probe_like())).axes
    assert line(axes, "Transformer") == [(4096 * 8, 8), (4096 * 16, 16)]
    assert line(axes, "slope 1") == [(16, 8), (32, 16)]
    assert all(bits <= 2 * n for bits, n in line(axes, "limit"))
    assert [text.get_text() for text in axes.texts] == ["LSTM: none reaches 0.9 (best 0.62)"]


def test_bits_used_are_drawn_over_the_bits_that_the_accuracy_needs(tmp_path: Path) -> None:
    table = probes(tmp_path, [probe_row(accuracy_strict=1.0, bits_used=24)])
    (axes,) = fig_bits_used.draw_figure(table).axes
    assert line(axes, "lstm") == [(least_bits(table.bound(8), 0.99), 24)]
    assert all(x == y for x, y in line(axes, "equal"))


@pytest.mark.parametrize("figure", [fig_bits_used, fig_size_reached, fig_state_bits])
def test_a_task_that_is_not_on_this_machine_is_told_with_its_line(figure: ModuleType, tmp_path: Path) -> None:
    rows = [row | {"task": str(tmp_path / "gone.py")} for row in probe_like()]
    with pytest.raises(UsageError, match=r"probe\.csv, line 2: .*gone\.py"):
        figure.draw_figure(probes(tmp_path, rows))


def problems_of_one_n(column: str, values: tuple[str, str]) -> list[dict[str, Any]]:
    """Two rows of n = 16 that are always right and whose problems differ in one column."""
    return [probe_row(n=16, accuracy_strict=1.0, bits_used=64) | {column: value} for value in values]


@pytest.mark.parametrize("order", [("values=4", "values=2"), ("values=2", "values=4")])
def test_rows_with_other_options_have_their_own_panels_and_bounds(order: tuple[str, str], tmp_path: Path) -> None:
    table = probes(tmp_path, problems_of_one_n("options", order))
    needed = {"values=4": 32, "values=2": 16}
    for module in (fig_bits_used, fig_size_reached, fig_state_bits):
        figure = module.draw_figure(table)
        assert [axes.get_title() for axes in figure.axes] == [f"Index ({options})" for options in order]
    for part, options in zip(table.by_task(), order, strict=True):
        assert part.bound(16).bits_needed == needed[options]
        assert fig_bits_used.needed_bits(part, part.rows[0]) == least_bits(part.bound(16), 0.99) <= needed[options]
    lines = [line(axes, "slope 1") for axes in fig_size_reached.draw_figure(table).axes]
    assert lines == [[(needed[options], 16)] for options in order]


def test_an_architecture_may_be_in_only_one_panel(tmp_path: Path) -> None:
    one, other = problems_of_one_n("options", ("values=4", "values=2"))
    figure = fig_size_reached.draw_figure(probes(tmp_path, [one, other | {"arch": "mamba"}]))
    assert len(figure.axes) == 2


def test_a_bound_over_rows_of_several_options_is_refused(tmp_path: Path) -> None:
    table = probes(tmp_path, problems_of_one_n("options", ("values=4", "values=2")))
    with pytest.raises(UsageError, match="of index default values=4 and of index default values=2") as told:
        table.bound(16)
    assert "\n" not in str(told.value)


def test_families_of_one_task_are_told_apart_by_name(tmp_path: Path) -> None:
    rows = [row | {"task": "associative_recall"} for row in problems_of_one_n("family", ("hard", "shuffled"))]
    titles = [axes.get_title() for axes in fig_bits_used.draw_figure(probes(tmp_path, rows)).axes]
    assert titles == [f"Associative recall (family {family}, values=4)" for family in ("hard", "shuffled")]


def retrieval_rows() -> list[dict[str, Any]]:
    same = {"task": "index", "family": "default"}
    lstms = [row(**same, mode="direct", arch="lstm", size=f"tiny+d_hidden={w}", parameters=w) for w in (4, 16, 64)]
    helped = [row(**same, mode="rag", arch="lstm", size="tiny+d_hidden=4")]
    helped += [row(**same, mode="direct", arch=arch) for arch in ("transformer", "hybrid")]
    return [each | {"n": n, "seed": seed} for each in lstms + helped for n in (8, 16) for seed in range(3)]


def test_the_state_alone_is_drawn_beside_retrieval_and_attention(tmp_path: Path) -> None:
    figure = fig_retrieval.draw_figure(read_results(write(tmp_path / "t.csv", retrieval_rows())))
    alone, helped = figure.axes
    names = [[bars.get_label() for bars in axes.containers] for axes in (alone, helped)]
    assert names[0] == ["LSTM, d_hidden=4", "LSTM, d_hidden=16", "LSTM, d_hidden=64"]
    assert sorted(names[1]) == ["Hybrid", "LSTM, d_hidden=4, retrieval", "Transformer"]
    check_words(figure)


def test_every_layer_with_a_fixed_state_is_drawn_and_others_are_named_with_the_reason(tmp_path: Path) -> None:
    layers = {"gru": "", "gla": "", "gated_deltanet": "", "fla.layers.RetNet": "", "mine.py": 0}
    rows = [
        probe_row(arch=arch, state_bits_per_token=added, state_bits=64 + i)
        for i, (arch, added) in enumerate(layers.items())
    ]
    rows += [
        probe_row(arch="transformer", state_bits_per_token=512),
        probe_row(arch="gone.py", state_bits_per_token=""),
    ]
    rows += [probe_row(arch="lstm", mode="rag", state_bits_per_token=0)]
    figure = fig_state_bits.draw_figure(probes(tmp_path, rows))
    words = " ".join(" ".join(text.get_text().split()) for text in figure.texts)
    assert "Models: GRU, GLA, Gated DeltaNet, RetNet, mine." in words
    for told in ("gone (whether its state grows is not known)", "LSTM (retrieval)", "Transformer (its state grows)"):
        assert told in words
    (axes,) = figure.axes
    trained = [bars for bars in axes.containers if bars.lines[0].get_marker() == "s"]
    assert sorted(x for bars in trained for x in bars.lines[0].get_xdata()) == [64, 65, 66, 67, 68]


def test_a_users_layer_is_in_the_panel_of_its_kind_of_state(tmp_path: Path) -> None:
    rows = retrieval_rows()
    same = {"task": "index", "family": "default", "mode": "direct", "arch": "mine.py", "size": "tiny", "parameters": 9}
    mine = [row(**same, n=n, seed=seed) for n in (8, 16) for seed in range(3)]
    for added, panel in ((0, 0), (128, 1)):
        table = [each | {"state_bits_per_token": ""} for each in rows] + [
            each | {"state_bits_per_token": added} for each in mine
        ]
        figure = fig_retrieval.draw_figure(read_results(write(tmp_path / "t.csv", table)))
        assert "mine" in [bars.get_label() for bars in figure.axes[panel].containers]
        assert "mine" not in [bars.get_label() for bars in figure.axes[1 - panel].containers]
    unknown = [each | {"state_bits_per_token": ""} for each in [*rows, *mine]]
    figure = fig_retrieval.draw_figure(read_results(write(tmp_path / "t.csv", unknown)))
    assert "mine (whether its state grows is not known)" in " ".join(figure.texts[-1].get_text().split())


def test_no_words_overlap_or_are_cut(tmp_path: Path) -> None:
    table = probes(tmp_path, probe_like(ns=(8, 16, 40)))
    for module in (fig_state_bits, fig_size_reached, fig_bits_used):
        check_words(module.draw_figure(table))


def test_a_table_with_nothing_to_draw_is_refused(tmp_path: Path) -> None:
    searched = probes(tmp_path, [probe_row(mode="rag")])
    for module in (fig_state_bits, fig_size_reached, fig_bits_used):
        with pytest.raises(UsageError, match="nothing to draw"):
            module.draw_figure(searched)
    with pytest.raises(UsageError, match="no recall task"):
        fig_retrieval.draw_figure(read_results(write(tmp_path / "t.csv", [row()])))
    with pytest.raises(UsageError, match="lacks the column"):
        read_probes(write(tmp_path / "t.csv", [row()]))


def test_an_empty_field_means_none_only_in_optional_columns(tmp_path: Path) -> None:
    (read,) = probes(tmp_path, [probe_row()]).rows
    assert (read.bits, read.bits_used_high) == (None, None)
    with pytest.raises(UsageError, match="state_bits"):
        probes(tmp_path, [probe_row(state_bits="")])


def test_figures_of_bits_are_drawn_without_torch(tmp_path: Path) -> None:
    table = write(tmp_path / "probe.csv", probe_like())
    code = (
        "import sys; from pathlib import Path; from plots import draw\n"
        f"draw('fig_state_bits', Path({str(table)!r}), Path({str(tmp_path)!r}))\n"
        "assert not {'torch', 'matplotlib.pyplot'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])
    assert (tmp_path / "fig_state_bits.png").exists()


def test_the_number_of_seeds_is_given_in_words(tmp_path: Path) -> None:
    assert probes(tmp_path, probe_like(seeds=1)).seeds == "1 seed"
    assert probes(tmp_path, [*probe_like(ns=(8,), seeds=1), *probe_like(ns=(16,), seeds=3)]).seeds == "1 to 3 seeds"


def transfer_rows() -> list[dict[str, Any]]:
    same = {"task": "istree", "family": "two_star", "size": "tiny", "n": 8, "hardware": "Abacus", "accuracy_low": 0}
    same |= {"seed": 0, "samples": 640, "parameters": 100_000, "options": "names=16"}
    return [
        same
        | {"tested_n": tested_n}
        | {"tested_on": family, "answer": answer, "mode": mode, "arch": arch, "accuracy": share, "eval_samples": n}
        | {"accuracy_high": share - 1e-16}  # an upper end that rounding made too low
        for family in ("random_tree", "two_star")
        for mode in ("direct", "cot")
        for arch in ("transformer", "lstm")
        for answer, share, n in (("[TRUE]", 0.9, 480), ("[FALSE]", 0.1, 520))
        for tested_n in (8, 16)
    ]


def test_each_class_has_its_mark_and_the_trained_family_comes_first(tmp_path: Path) -> None:
    figure = fig_transfer.draw_figure(fig_transfer.read_table(write(tmp_path / "t.csv", transfer_rows())))
    assert len(figure.axes) == 4
    assert [axes.get_ylabel() for axes in figure.axes[::2]] == ["two-star\ngraphs", "random-tree\ngraphs"]
    for axes in figure.axes:
        places = [(c.get_label(), *c.lines[0].get_xdata()) for c in axes.containers]
        assert sorted(places) == [("[FALSE]", 0.1), ("[FALSE]", 0.1), ("[TRUE]", 0.9), ("[TRUE]", 0.9)]
    check_words(figure)


def test_a_table_without_tests_at_the_n_of_training_is_refused(tmp_path: Path) -> None:
    rows = [row | {"tested_n": row["tested_n"] + 2} for row in transfer_rows()]
    with pytest.raises(UsageError, match=r"no test at the n of training .*--x tested_n"):
        fig_transfer.read_table(write(tmp_path / "t.csv", rows))


def test_a_table_of_runs_of_several_families_is_refused(tmp_path: Path) -> None:
    rows = transfer_rows()
    rows[0]["family"] = "path_like"
    with pytest.raises(UsageError, match="one family and one n"):
        fig_transfer.read_table(write(tmp_path / "t.csv", rows))


def test_tests_of_other_tasks_are_left_out_and_reported(tmp_path: Path) -> None:
    other = transfer_rows()[0] | {"task": "find_path"}
    rows = [row for row in transfer_rows() if row["tested_n"] == row["n"]]
    kept = fig_transfer.read_table(write(tmp_path / "t.csv", [*rows, other]))
    assert {row.task for row in kept.rows} == {"istree"}
    assert kept.left_out == ("1 row of task find_path",)
    with pytest.raises(UsageError, match="has no test of IsTree"):
        fig_transfer.read_table(write(tmp_path / "t.csv", [other]))


def test_marks_of_many_models_stay_near_their_n_and_their_keys_on_the_page(tmp_path: Path) -> None:
    ns = (8, 16, 32)
    rows = [
        row(task="index", family="default", mode="direct", arch="lstm", n=n, size=f"tiny+d_hidden={k}", parameters=k)
        | {"state_bits": 64 * k}
        for n in ns
        for k in range(1, 13)
    ]
    figure = fig_retrieval.draw_figure(read_results(write(tmp_path / "t.csv", rows)))
    check_words(figure)
    axes = figure.axes[0]
    places = [each.lines[0].get_xdata() for each in axes.containers]
    assert len(places) == 12
    for before, after in pairwise(zip(*places, strict=True)):
        assert max(before) < min(after)
    left, right = axes.get_xlim()
    assert left < min(map(min, places)) < max(map(max, places)) < right


@pytest.mark.parametrize("module", [fig_bits_used, fig_size_reached])
def test_keys_of_many_architectures_are_on_the_page(module: ModuleType, tmp_path: Path) -> None:
    rows = [probe_row(arch=arch, n=n) for arch in (*ARCHITECTURES, "zoo/a.py", "zoo/b.py") for n in (8, 16)]
    check_words(module.draw_figure(probes(tmp_path, rows)))
