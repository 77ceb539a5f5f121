"""The picture of the idea shows the task's own tokens, and searches that point to what they find."""

from collections.abc import Iterator
from pathlib import Path

import matplotlib as mpl
import networkx as nx
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from retrieval_gap.machine.errors import UsageError
from retrieval_gap.plots import draw, idea, style
from retrieval_gap.tasks.api import Mode
from retrieval_gap.tasks.istree import trace, vocabulary
from tests.plots.layout import check_words

VISIBLE = {"direct": 1, "cot": 13, "rag": 36}  # tokens after the prompt, in rag up to the gap


@pytest.fixture(scope="module")
def figure() -> Iterator[Figure]:
    with style.applied():
        yield idea.draw_figure()


@pytest.fixture(scope="module")
def axes(figure: Figure) -> Axes:
    (axes,) = figure.axes
    return axes


def task_words(mode: Mode) -> list[str]:
    spelling = vocabulary(idea.N)
    return [spelling[token] for token in trace(idea.EDGES, idea.N, mode)[0]]


def tokens(axes: Axes, mode: Mode) -> list[str]:
    return [text.get_text() for text in axes.texts if text.get_label() == mode]


@pytest.mark.parametrize("mode", ["direct", "cot"])
def test_short_views_are_shown_whole(mode: Mode, axes: Axes) -> None:
    assert tokens(axes, mode) == task_words(mode)[17:]
    assert len(tokens(axes, mode)) == VISIBLE[mode]


def test_retrieval_shows_the_prompt_the_first_searches_the_size_of_the_gap_and_the_end(axes: Axes) -> None:
    words = task_words("rag")
    shown = 17 + VISIBLE["rag"]
    assert tokens(axes, "rag") == [*words[:shown], *words[-2:]]
    assert [t for line in idea.RAG.lines(idea.SEARCHES) for t in line] == list(range(17, shown))
    assert f"… {len(words) - shown - 2} more tokens …" in [text.get_text() for text in axes.texts]


def test_lines_of_the_retrieval_view_begin_at_visits_and_hold_at_most_two_searches() -> None:
    lines = [" ".join(idea.RAG.words[t] for t in line) for line in idea.RAG.lines(idea.SEARCHES)]
    assert lines == [
        "0 [STARTSEARCH] 0 ~ [ENDSEARCH] [FAILED] [STARTSEARCH] 0 - [ENDSEARCH] 4",
        "[STARTSEARCH] 4 ~ [ENDSEARCH] [FAILED] 4 ~ 0",
        "4 [STARTSEARCH] 4 ~ [ENDSEARCH] 0 [STARTSEARCH] 4 - [ENDSEARCH] 0",
        "[STARTSEARCH] 4 - 0 [ENDSEARCH] 2",
    ]


def test_colours_show_who_writes_a_token(axes: Axes) -> None:
    boxes = [patch for patch in axes.patches if isinstance(patch, FancyBboxPatch) and patch.get_facecolor()[3] > 0]
    faces = [patch.get_facecolor() for patch in boxes]
    graded = trace(idea.EDGES, idea.N, "rag")[1][17 : 17 + VISIBLE["rag"]]
    given, written, found = (to_rgba(idea.FACES[kind]) for kind in ("given", "written", "found"))
    assert faces.count(found) == list(graded).count(False) == idea.SEARCHES
    assert faces.count(given) == 17
    assert faces.count(written) == VISIBLE["direct"] + VISIBLE["cot"] + list(graded).count(True) + 2


def test_arrows_lead_from_a_search_to_the_edge_that_holds_its_result(axes: Axes) -> None:
    searches = [idea.RAG.search(number) for number in idea.ARROWS]
    words = idea.RAG.words
    told = [[" ".join(words[t] for t in part) for part in (search.query, search.edge)] for search in searches]
    assert told == [["0 -", "4 - 0"], ["4 - 0", "4 - 2"]]
    assert [words[search.result] for search in searches] == ["4", "2"]
    assert all(search.edge.stop < len(idea.RAG.prompt) <= search.query.start for search in searches)
    assert len([patch for patch in axes.patches if isinstance(patch, FancyArrowPatch)]) == len(searches)


def test_a_search_that_fails_has_no_edge() -> None:
    with pytest.raises(ValueError, match=r"search 0 .* finds nothing"):
        idea.RAG.search(0)


def test_the_answer_is_right_and_every_node_has_its_place() -> None:
    assert nx.is_tree(nx.Graph(idea.EDGES))
    assert idea.DIRECT.words[-1] == "[TRUE]"
    assert len(idea.NODES) == len(set(idea.NODES)) == idea.N


def test_no_words_are_cut_off_or_overlap(figure: Figure) -> None:
    check_words(figure)


def test_the_picture_is_the_same_bytes_every_time_and_needs_no_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("retrieval_gap.plots.DEFAULT_TABLE", tmp_path / "absent.csv")
    first = draw("idea", None, tmp_path / "a")
    monkeypatch.setitem(mpl.rcParams, "font.size", 20)
    second = draw("idea", None, tmp_path / "b")
    assert [path.name for path in first] == ["idea.png", "idea.svg"]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    assert first[0].stat().st_size < 300_000


def test_a_table_for_the_picture_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"idea shows no results; leave out --results .*t\.csv"):
        draw("idea", tmp_path / "t.csv", tmp_path)
