"""The page of `retrieval-gap report` shows every row with its source, and needs nothing else."""

import json
import re
import sys
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from retrieval_gap.cli import main
from retrieval_gap.machine.errors import UsageError
from retrieval_gap.plots.report import _vega_bundle, write_report
from retrieval_gap.plots.report.charts import lines
from retrieval_gap.plots.report.columns import filters_of
from retrieval_gap.plots.report.samples import MOST_GOLD, MOST_TOKENS, shown, shown_samples, text_of
from retrieval_gap.plots.report.sources import CURVE_POINTS, committed_tables, gather, thinned
from tests.plots.report_pages import HOSTILE, finished_run, sample, sources
from tests.tables.result_rows import full_row, write_full

pytest.importorskip("vl_convert", reason="the report needs vl-convert-python")


class Elements(HTMLParser):
    """The elements of a page with their attributes, and the text of its data block."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.data = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.found and self.found[-1] == ("script", {"type": "application/json", "id": "data"}):
            self.data += data


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("report")
    runs, table = sources(folder)
    return write_report(folder / "out", [runs], [table]).read_text()


def test_the_page_is_small_and_refers_to_nothing_outside(page: str) -> None:
    elements = Elements(page).found
    assert len(page) < 5_000_000
    addresses = [value for _, attrs in elements for name, value in attrs.items() if name in ("src", "href")]
    assert {address[:5] for address in addresses if address and not address.startswith("#")} == {"data:"}
    policy = next(attrs["content"] for tag, attrs in elements if attrs.get("http-equiv"))
    assert policy is not None
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "http" not in re.sub(r"sha256-\S+", "", policy)


def test_hostile_text_makes_no_element(page: str) -> None:
    elements = Elements(page).found
    assert "window.hacked" in page
    assert [attrs.get("type") for tag, attrs in elements if tag == "script"] == ["application/json", "module", "module"]
    assert not [attrs for _, attrs in elements if any(name.startswith("on") for name in attrs)]
    assert all((attrs["src"] or "").startswith("data:image/svg") for tag, attrs in elements if tag == "img")
    assert HOSTILE not in page


def test_the_page_holds_every_row_with_its_configuration_hardware_and_source(page: str) -> None:
    data = json.loads(Elements(page).data)
    assert len(data["rows"]) == 16
    index = next(row for row in data["rows"] if row["task"] == "index")
    assert (index["options"], index["lr"], index["hardware"]) == ("values=4", 0.0003, "Abacus, 2 cores")
    assert "table.csv, line 14" in index["source"]
    assert data["rows"][0]["source"].endswith("result.json")
    assert data["environments"]["0"]["torch"]


def test_only_runs_have_curves_which_end_where_training_did(page: str) -> None:
    curves = json.loads(Elements(page).data)["curves"]
    assert list(curves) == ["0", "1"]
    assert len(curves["0"]) <= CURVE_POINTS
    assert curves["0"][-1] == [960, 2 / 120]
    assert "14 of 16 models come from a table alone: no curve kept" in re.sub(r"\s+", " ", page)


def test_a_line_is_a_mean_over_seeds_only() -> None:
    runs = [full_row(), full_row(seed=1), full_row(n=32, samples=128_000, lr=0.001)]
    assert lines(runs) == ["eval_split=test"] * 3  # samples and rates that follow from n make no new line
    other = [full_row(lr=0.001), full_row(samples=1_000), full_row(eval_split="validation", samples=9)]
    rate = ["eval_split=test lr=0.0003"] * 2 + ["eval_split=test lr=0.001"] * 2
    assert lines([*runs, *other]) == [*rate, None, "eval_split=validation"]


def test_a_chart_draws_each_line(page: str) -> None:
    import vl_convert

    places = [{"n": n, "line": line} for n in (8, 16) for line in ("lr=0.1", "lr=0.2", None)]
    values = [{"arch": "lstm", "model": "lstm tiny", "rank": 0, "accuracy": 0.5, "chance": 0.1} | p for p in places]
    chart = json.loads(Elements(page).data)["charts"]["accuracy"] | {"width": 200, "data": {"values": values}}
    drawn = vl_convert.vegalite_to_svg(json.dumps(chart | {"layer": chart["layer"][1:2]}))
    assert drawn.count('aria-roledescription="line mark"') == 2


def test_a_long_curve_is_thinned_evenly_and_a_short_one_is_not() -> None:
    assert thinned([(i, 1.0) for i in range(10)]) == [(i, 1.0) for i in range(10)]
    thin = thinned([(i, 1.0) for i in range(1_001)])
    assert {after[0] - before[0] for before, after in pairwise(thin)} == {21}
    assert thin[-1][0] == 1_000


def test_a_trace_is_split_into_what_the_model_wrote_searched_and_was_given() -> None:
    told = shown(sample())
    assert told["pieces"] == [
        ["m", "4", 0, 0],
        ["s", "[STARTSEARCH]", 0, 0],
        ["s", "7", 1, 1],  # departs here
        ["s", "- [ENDSEARCH]", 1, 0],
        ["r", "[FAILED]", 1, 0],
        ["m", "[EOS] [TRUE]", 1, 0],
    ]
    assert told["gold"] == "4 - [ENDSEARCH] 2 [EOS] [FALSE]"
    assert shown(sample(departs=None))["gold"] == ""


def test_pieces_of_words_are_read_as_words() -> None:
    assert text_of(["[SENTENCE]", "ĠCaf", "Ã©", "Ġin", "ĠAl", "by", ".", "[SENTENCE]", "ĠOn"]) == (
        "[SENTENCE] Café in Alby. [SENTENCE] On"
    )
    assert text_of(["4", "-", "0"]) == "4 - 0"


def test_a_question_belongs_to_neither_the_model_nor_the_retriever() -> None:
    told = shown(sample(by="mmmmmrgm", departs=None))
    assert [piece[:2] for piece in told["pieces"]][-2:] == [["g", "[EOS]"], ["m", "[TRUE]"]]


def test_published_cells_have_verdicts_and_the_page_counts_each(tmp_path: Path) -> None:
    cell = full_row(n=32, accuracy=0.78)
    rough = full_row(n=32, arch="hybrid", accuracy=1.0, eval_samples=5)
    validation = full_row(n=64, eval_split="validation")
    table = write_full(tmp_path / "t.csv", cell, full_row(accuracy=0.9), rough, validation)
    page = write_report(tmp_path / "out", [], [table]).read_text()
    assert "3 of 108 published cells were run" in page
    assert "reproduced: 1; undecided: 1; not reproduced: 0; differs, one training each: 1" in page
    for look, verdict in (("right", "reproduced"), ("soft", "undecided"), ("soft", "differs, one training each")):
        assert f'<td class="{look}">{verdict}</td>' in page


def test_cells_of_several_settings_are_not_compared_and_the_page_says_why(tmp_path: Path) -> None:
    table = write_full(tmp_path / "t.csv", full_row(n=32), full_row(n=32, seed=1, lr=0.001))
    page = write_report(tmp_path / "out", [], [table]).read_text()
    assert re.search(r"They are not compared: .*line 2 and .*line 3 differ in lr \(0.0003, 0.001\)", page)


def test_a_long_trace_is_cut_and_says_so() -> None:
    told = shown(sample(written=["4"] * 4_000, by="m" * 4_000, gold=["4"] * 4_000, departs=100, left_out=[9, 8, 7]))
    assert sum(piece[1].count("4") for piece in told["pieces"]) == MOST_TOKENS
    assert told["more"] == 4_000 - MOST_TOKENS + 8
    assert told["gold"].endswith(f" … and {3_900 - MOST_GOLD + 7:,} tokens more")
    assert told["prompt"].endswith(" … and 9 tokens more")


@pytest.mark.parametrize(
    "line",
    [
        "", "{", "[]", "[" * 100_000, json.dumps(sample(by="mm")), json.dumps(sample(by="xxxxxxxx")),
        json.dumps(sample(written=[1] * 8)), json.dumps(sample(departs="2")), json.dumps(sample(left_out=None)),
        json.dumps(sample(prompt=None)), json.dumps(sample(right=1)),
    ],
)  # fmt: skip
def test_a_damaged_line_of_samples_is_left_out(line: str, tmp_path: Path) -> None:
    (tmp_path / "samples.jsonl").write_text(f"{line}\n{json.dumps(sample())}\n")
    assert [told["index"] for told in shown_samples(tmp_path / "samples.jsonl")] == [3]
    assert shown_samples(tmp_path / "absent.jsonl") == []


def test_contradicting_rows_are_shown_with_a_note_and_equal_rows_once(tmp_path: Path) -> None:
    here = write_full(tmp_path / "a.csv", full_row(), full_row(seed=1))
    there = write_full(tmp_path / "b.csv", full_row(wall_s=1.0), full_row(seed=1, accuracy=0.5))
    gathered = gather([], [here, there])
    assert [entry.row["accuracy"] for entry in gathered.entries] == [0.75, 0.75, 0.5]
    assert gathered.notes == ["1 rows are of a configuration that another row has other results of; all are shown."]


def test_unfinished_and_unreadable_runs_are_noted(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    finished_run(runs, [], mode="cot")
    finished_run(runs, []).result.unlink()
    finished_run(runs, []).result.write_text("{}")
    finished_run(runs, [], n="many")
    finished_run(runs, [], accuracy_low=float("nan"))
    gathered = gather([runs], [])
    assert len(gathered.entries) == 1
    assert len(gathered.notes) == 4
    assert sorted(gathered.notes)[0].startswith("1 runs in")
    assert "says n = 'many', and the run's config.json 6" in " ".join(gathered.notes)
    assert "has no number for accuracy" in " ".join(gathered.notes)
    assert "says accuracy_low = nan, which is not a share" in " ".join(gathered.notes)


def test_a_number_that_json_cannot_hold_is_shown_as_unknown(tmp_path: Path) -> None:
    finished_run(tmp_path / "runs", [], tokens_per_s=float("inf"))
    page = write_report(tmp_path / "out", [tmp_path / "runs"], []).read_text()
    (row,) = json.loads(Elements(page).data)["rows"]
    assert row["tokens_per_s"] is None
    assert list(row)[:4] == ["task", "family", "mode", "n"]


def test_a_run_older_than_a_column_is_shown(tmp_path: Path) -> None:
    run = finished_run(tmp_path / "runs", [])
    row = json.loads(run.result.read_text())
    run.result.write_text(json.dumps({k: v for k, v in row.items() if k not in ("options", "precision", "state_bits")}))
    (entry,) = gather([tmp_path / "runs"], []).entries
    assert (entry.row["options"], entry.row["precision"], entry.row["state_bits"]) == ("", "fp32", None)


def test_samples_past_the_pages_room_are_left_out_with_a_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("retrieval_gap.plots.report.sources.SAMPLE_CHARACTERS", 500)
    for _ in range(3):
        finished_run(tmp_path / "runs", [sample()])
    gathered = gather([tmp_path / "runs"], [])
    assert list(gathered.samples) == [0]
    assert gathered.notes == ["The samples of 2 runs are left out: the page would be too large."]


def test_the_committed_tables_of_runs_are_found_and_other_tables_are_not() -> None:
    names = {path.name for path in committed_tables()}
    assert {"istree_demo.csv", "istree_cpu.csv", "istree_lr.csv", "theory_demo.csv"} <= names
    assert not names & {"published_istree.csv", "istree_transfer.csv", "theory_demo_probe.csv"}


def test_without_sources_the_page_shows_the_committed_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    gathered = gather([], [])
    assert [path for path, _ in gathered.sources] == [str(path) for path in committed_tables()]
    assert {entry.row["task"] for entry in gathered.entries} >= {"istree", "index"}


def test_the_test_split_is_preselected_if_there_are_several_splits() -> None:
    rows: list[dict[str, Any]] = [full_row(), full_row(eval_split="validation")]
    assert {f.column: f.chosen for f in filters_of(rows)} == dict.fromkeys(("task", "mode", "arch", "n"), "") | {
        "eval_split": "test"
    }


def test_the_command_prints_where_the_page_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = write_full(tmp_path / "t.csv", full_row(task="mine", n=3))
    assert main(["report", "--out", str(tmp_path / "out"), "--results", str(table)]) == 0
    assert re.fullmatch(r"\S+/out/index\.html, \d\.\d MB\n", capsys.readouterr().out)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["index.html"]


def test_no_finished_run_is_an_error_and_writes_nothing(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    with pytest.raises(UsageError, match="there is no finished run to report"):
        write_report(tmp_path / "out", [tmp_path / "runs"], [])
    assert not list(tmp_path.glob("out/*"))


def test_a_missing_package_is_reported_with_the_command_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    _vega_bundle.cache_clear()
    with pytest.raises(UsageError, match=r"pip install 'retrieval-gap\[report\]'"):
        write_report(tmp_path / "out", [], [write_full(tmp_path / "t.csv", full_row())])
