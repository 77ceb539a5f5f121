"""`draw` writes both formats, the same bytes every time, or one line that says what to do."""

import subprocess
import sys
from pathlib import Path

import matplotlib as mpl
import pytest

from retrieval_gap.cli import main
from retrieval_gap.machine.errors import UsageError
from retrieval_gap.plots import draw
from retrieval_gap.tables.rows import RESULTS
from tests.plots.tables import demo_like, write


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("tables") / "demo.csv", demo_like())


@pytest.fixture(scope="module")
def drawn(table: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return draw("fig2_istree", table, tmp_path_factory.mktemp("drawn"))


def contents(paths: list[Path]) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in paths}


def test_both_formats_are_written_and_nothing_else(drawn: list[Path]) -> None:
    assert [path.name for path in drawn] == ["fig2_istree.png", "fig2_istree.svg"]
    assert drawn[0].read_bytes().startswith(b"\x89PNG")
    assert "<svg" in drawn[1].read_text()
    assert set(drawn[0].parent.iterdir()) == set(drawn)


def test_a_second_call_gives_the_same_bytes_whatever_the_users_settings(
    table: Path, drawn: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(mpl.rcParams, "font.size", 20)
    monkeypatch.setitem(mpl.rcParams, "axes.facecolor", "black")
    assert contents(draw("fig2_istree", table, tmp_path / "new" / "folder")) == contents(drawn)


def test_another_process_gives_the_same_bytes_without_a_window_or_torch(
    table: Path, drawn: list[Path], tmp_path: Path
) -> None:
    code = (
        "import sys; from pathlib import Path; from plots import draw\n"
        f"draw('fig2_istree', Path({str(table)!r}), Path({str(tmp_path)!r}))\n"
        "assert not {'torch', 'numba', 'matplotlib.pyplot', 'tkinter'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])
    assert contents(sorted(tmp_path.iterdir())) == contents(drawn)


def test_a_figure_names_its_own_table_if_none_is_given(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for figure, table in (("accuracy", "istree_demo.csv"), ("fig_tracking", "tracking_demo_transfer.csv")):
        assert main(["plot", figure, "--out", str(tmp_path)]) == 0
        assert f"no --results: the table is {RESULTS / table}\n" in capsys.readouterr().err


def test_bars_are_the_same_bytes_on_a_second_call(table: Path, tmp_path: Path) -> None:
    first, second = (contents(draw("fig5_istree", table, tmp_path / folder)) for folder in "ab")
    assert first == second


def test_an_unknown_figure_is_reported_with_the_nearest_name(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"unknown figure 'fig2_istre' .*did you mean 'fig2_istree'"):
        draw("fig2_istre", None, tmp_path)


@pytest.mark.parametrize("name", ["table", "style", "fig2_istree.draw_figure", "../fig2_istree", ""])
def test_only_figures_can_be_drawn(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="choose from fig2_istree, fig5_istree"):
        draw(name, None, tmp_path)


def test_a_folder_that_cannot_be_written_is_reported(table: Path) -> None:
    with pytest.raises(UsageError, match=r"demo\.csv/fig2_istree\.png cannot be written \(.*\); .*--out"):
        draw("fig2_istree", table, table)


def test_a_table_that_cannot_be_read_leaves_the_earlier_files(drawn: list[Path], tmp_path: Path) -> None:
    before = contents(drawn)
    with pytest.raises(UsageError):
        draw("fig2_istree", tmp_path / "absent.csv", drawn[0].parent)
    assert contents(drawn) == before


MINE = """
from matplotlib.figure import Figure

def draw_figure(results):
    figure = Figure()
    axes = figure.add_subplot()
    axes.plot([cell.n for cell in results.points], [point.accuracy for point in results.points.values()], "o")
    return figure
"""


def test_a_users_figure_is_drawn_from_a_table_and_named_by_its_file(table: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(MINE)
    drawn = draw(str(tmp_path / "mine.py"), table, tmp_path / "out")
    assert [path.name for path in drawn] == ["mine.png", "mine.svg"]


def test_a_users_figure_may_read_its_own_kind_of_table(tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text("x,y\n1,2\n")
    (tmp_path / "mine.py").write_text(
        "from matplotlib.figure import Figure\n"
        "def read_table(path): return path.read_text().split()\n"
        "def draw_figure(lines):\n    assert lines == ['x,y', '1,2']\n    return Figure()\n"
    )
    assert len(draw(str(tmp_path / "mine.py"), tmp_path / "own.csv", tmp_path)) == 2


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("", "defines no draw_figure"),
        ("def draw_figure(results): return 3\n", "returns a int, not a matplotlib Figure"),
        ("def draw_figure(results):\n    return 1 / 0\n", r"mine\.py:2: ZeroDivisionError"),
        (
            "def read_table(path):\n    return {}['n']\ndef draw_figure(results): pass\n",
            r"figure .*mine\.py fails: .*mine\.py:2: KeyError",
        ),
        ("DEFAULT_TABLE = 'absent.csv'\ndef draw_figure(results): pass\n", "no results table absent.csv"),
        ("import nothing_of_that_name\n", r"mine\.py:1: ModuleNotFoundError"),
    ],
)
def test_errors_in_a_users_figure_are_reported(source: str, told: str, table: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(source)
    with pytest.raises(UsageError, match=told):
        draw(str(tmp_path / "mine.py"), None if "DEFAULT_TABLE" in source else table, tmp_path)


def test_the_figure_of_two_arms_needs_a_users_own_table(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"sets both arms together, and --results FILE"):
        draw("fig_arms", None, tmp_path)


def test_the_flags_of_one_kind_of_figure_are_refused_for_another(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for words, told in (
        ("plot fig2_istree --x n", "--x is a flag of plot accuracy"),
        ("plot fig2_istree somewhere", "takes no run directories"),
        ("plot curves --results t.csv somewhere", "leave out --results"),
        ("plot accuracy --x depth", "unknown --x 'depth'"),
        ("plot acuracy", "did you mean 'accuracy'"),
    ):
        assert main(words.split()) == 2
        assert told in capsys.readouterr().err


def test_only_the_requested_format_is_written(tmp_path: Path) -> None:
    table = write(tmp_path / "table.csv", demo_like())
    assert [path.name for path in draw("fig2_istree", table, tmp_path / "out", ("svg",))] == ["fig2_istree.svg"]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["fig2_istree.svg"]
