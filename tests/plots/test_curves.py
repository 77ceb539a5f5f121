"""`plot curves` shows how runs learned, from their directories."""

import json
from pathlib import Path
from typing import Any

import pytest

from retrieval_gap.machine.errors import UsageError
from retrieval_gap.plots import curves, draw_curves
from tests.plots.layout import check_words

pytestmark = pytest.mark.usefixtures("styled")


def run_directory(path: Path, name: str, reports: list[dict[str, Any]], arch: str = "lstm") -> Path:
    folder = path / name
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"task": "index", "arch": arch}))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(told) + "\n" for told in reports))
    return folder


def reports(**more: float) -> list[dict[str, Any]]:
    return [{"step": i, "samples": 64 * i, "loss": 2.0 / i, **more} for i in range(1, 5)]


def test_a_line_shows_the_losses_over_the_samples(tmp_path: Path) -> None:
    figure = curves.draw_figure(curves.read_curves([run_directory(tmp_path, "a", reports())]))
    (axes,) = figure.axes
    assert list(axes.lines[0].get_xdata()) == [64, 128, 192, 256]
    assert list(axes.lines[0].get_ydata()) == [2.0, 1.0, 2 / 3, 0.5]


def test_accuracy_has_a_panel_if_a_run_measured_it(tmp_path: Path) -> None:
    measured = [*reports(), {"samples": 256, "accuracy": 0.75, "exact_trace": 0.5}]
    folders = [run_directory(tmp_path, "a", measured), run_directory(tmp_path, "b", reports(), "mamba")]
    figure = curves.draw_figure(curves.read_curves(folders))
    assert [line.get_label() for line in figure.axes[1].lines] == ["LSTM accuracy", "LSTM exact_trace"]
    assert [list(line.get_ydata()) for line in figure.axes[1].lines] == [[0.75], [0.5]]
    check_words(figure)


def test_runs_are_told_apart_by_the_settings_in_which_they_differ(tmp_path: Path) -> None:
    folders = [run_directory(tmp_path, name, reports()) for name in "abc"]
    for folder, lr in zip(folders, (0.001, 0.003, 0.01), strict=True):
        (folder / "config.json").write_text(json.dumps({"task": "index", "arch": "lstm", "lr": lr, "size": "tiny"}))
    named = [curve.name for curve in curves.read_curves(folders)]
    assert named == ["LSTM, lr 0.001", "LSTM, lr 0.003", "LSTM, lr 0.01"]
    (folders[0] / "config.json").write_text((folders[1] / "config.json").read_text())
    assert [curve.name for curve in curves.read_curves(folders)] == ["a", "b", "c"]
    assert curves.read_curves(folders[:1])[0].name == "a"


def test_a_line_cut_short_by_a_kill_is_skipped(tmp_path: Path) -> None:
    folder = run_directory(tmp_path, "a", reports())
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 5, "samp')
    assert len(curves.read_curves([folder])[0].reports) == 4


def test_a_run_without_a_report_is_named(tmp_path: Path) -> None:
    folders = [run_directory(tmp_path, "a", reports()), run_directory(tmp_path, "new", [])]
    figure = curves.draw_figure(curves.read_curves(folders))
    assert "Not drawn: new (no report of a loss yet)" in " ".join(figure.texts[-1].get_text().split())
    with pytest.raises(UsageError, match="nothing to draw"):
        curves.draw_figure(curves.read_curves(folders[1:]))


def test_folders_that_are_no_runs_or_too_many_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"has no config\.json"):
        curves.read_curves([tmp_path])
    with pytest.raises(UsageError, match="needs run directories"):
        curves.read_curves([])
    with pytest.raises(UsageError, match="too many"):
        curves.read_curves([tmp_path] * 30)


def test_runs_of_one_architecture_share_its_colour_and_differ_in_their_marks(tmp_path: Path) -> None:
    folders = [run_directory(tmp_path, name, reports()) for name in "ab"]
    first, second = curves.draw_figure(curves.read_curves(folders)).axes[0].lines
    assert first.get_color() == second.get_color()
    assert first.get_marker() != second.get_marker()


def test_curves_are_written_in_both_formats(tmp_path: Path) -> None:
    folder = run_directory(tmp_path, "a", reports())
    assert [path.name for path in draw_curves([folder], tmp_path / "out")] == ["curves.png", "curves.svg"]


@pytest.mark.parametrize(("low", "high"), [(0.62, 0.65), (0.55, 0.69), (0.2, 0.9), (0.05, 2.0), (0.001, 2.0)])
def test_the_axis_of_losses_has_numbers_however_short_it_is(low: float, high: float, tmp_path: Path) -> None:
    told = [{"samples": 64, "loss": high}, {"samples": 128, "loss": low}]
    figure = curves.draw_figure(curves.read_curves([run_directory(tmp_path, "a", told)]))
    figure.draw_without_rendering()
    (axes,) = figure.axes
    bottom, top = axes.get_ylim()
    ticks = [*axes.yaxis.get_major_ticks(), *axes.yaxis.get_minor_ticks()]
    numbers = [tick.label1.get_text() for tick in ticks if bottom <= tick.get_loc() <= top and tick.label1.get_text()]
    assert len(numbers) >= 2
    assert all(bottom <= float(number) <= top for number in numbers)
