"""Memory runs write rows, resume, and are compared and shown; wrong use is one line."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from retrieval_gap.cli import main
from retrieval_gap.experiments.grids import preset_cells
from retrieval_gap.experiments.memories.cell import STEPS, MemoryCell
from retrieval_gap.experiments.memories.comparison import PAIRED, TABLE_COLUMNS, compared_rows
from retrieval_gap.experiments.memories.rows import COLUMNS
from retrieval_gap.experiments.memories.showing import show_run
from retrieval_gap.experiments.memories.work import read_log
from retrieval_gap.llm.cache import REPLIES
from retrieval_gap.llm.config import LLMConfig, Price, ServerConfig
from retrieval_gap.machine.errors import RunError, UsageError
from retrieval_gap.runs.directory import RunDirectory
from retrieval_gap.runs.experiment import read_experiment
from retrieval_gap.statistics.intervals import wilson_interval
from retrieval_gap.tables.rows import write_table
from retrieval_gap.tasks.api import TaskError
from retrieval_gap.text_memory.scripted import count_tokens, note_taker
from tests.experiments.memories.cells import cell, finished_in, performed
from tests.llm.scripted_server import ScriptedServer, prompt_of


def test_a_run_has_one_row_for_all_steps_and_one_per_step_and_its_log_keeps_the_budget(tmp_path: Path):
    chosen = cell(budget=30)
    whole, *by_step = performed(chosen, tmp_path)
    assert (whole["part"], whole["predictions"], whole["budget"], whole["updates_written"]) == ("all", 18, 30, 18)
    assert [row["part"] for row in by_step] == ["steps"] * 6
    assert sum(int(str(row["predictions"])) for row in by_step) == 18
    assert whole["score"] == sum(float(str(row["score"])) for row in by_step) / 6
    steps = read_log(RunDirectory.of(chosen, tmp_path).path / STEPS, chosen.hash())
    for step in steps:
        assert count_tokens(step["carried"]) <= 30
        assert all(count_tokens(version["text"]) == version["tokens"] <= 30 for version in step["versions"])
    assert set(whole) <= set(COLUMNS)


def test_an_experiment_is_read_back_from_its_configuration():
    for chosen in (cell(), cell("majority"), *preset_cells("memory_demo")):
        value = json.loads(json.dumps(chosen.to_json()))
        assert read_experiment(value, "config.json") == chosen
    with pytest.raises(UsageError, match=r"config\.json: settings: --budget 0 is out of range"):
        read_experiment(cell().to_json() | {"settings": {"budget": 0}}, "config.json")
    with pytest.raises(UsageError, match=r"config\.json: unknown key 'bugdet'"):
        read_experiment(cell().to_json() | {"bugdet": 3}, "config.json")


SERVED = """
import sys
from pathlib import Path
from retrieval_gap.experiments.memories.cell import MemoryCell
from retrieval_gap.runs.experiment import RunOptions, read_experiment
from retrieval_gap.runs.perform import perform
import json
perform(read_experiment(json.loads(sys.argv[1]), "argument"), RunOptions(runs_dir=Path(sys.argv[2]), threads=1))
"""


@pytest.mark.faults
def test_a_killed_run_resumes_to_equal_rows_and_repeats_no_answered_request(tmp_path: Path):
    def answer(body: dict[str, object]) -> str:
        time.sleep(0.01)
        return note_taker(prompt_of(body))

    with ScriptedServer(answer, max_model_len=4096) as server:
        server.tokenize = lambda body: {"count": count_tokens(body["prompt"])}
        asked_of = ServerConfig(base_url=server.url, concurrency=1)
        chosen = replace(cell(budget=200), model=LLMConfig(model="small"), server=asked_of)
        straight = performed(chosen, tmp_path / "straight")
        needed = len(server.answered)
        command = [sys.executable, "-c", SERVED, json.dumps(chosen.to_json()), str(tmp_path / "killed")]
        process = subprocess.Popen(command, cwd=Path(__file__).parents[3], env=os.environ | {"PYTHONPATH": "."})
        while len(server.answered) < needed + 9 and process.poll() is None:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        assert performed(chosen, tmp_path / "killed") == straight
        bodies = [json.dumps(body, sort_keys=True) for body in server.answered[needed:]]
        assert len(bodies) <= needed + 1  # the request that was under way at the kill is asked again
        assert len(set(bodies)) == needed


def test_the_table_has_floors_methods_and_paired_differences(tmp_path: Path):
    for chosen in (
        cell("majority"),
        cell("zero_shot"),
        cell("no_update"),
        cell(budget=50),
        cell(budget=12),
        cell("search"),
    ):
        performed(chosen, tmp_path)
    rows = compared_rows(finished_in(tmp_path), "zero_shot", Price(price_read=1e6))
    whole = {(row["method"], row.get("budget")): row for row in rows if row["part"] == "all"}
    full, floor = whole["llm_as_rnn", 50], whole["majority", None]
    assert full["score"] == 1.0
    assert full["difference"] == 1.0 - whole["zero_shot", None]["score"]
    assert full["only_other_right"] == 0
    assert full["only_this_right"] == round(18 * full["difference"])
    assert full["difference_low"] <= full["difference"] <= full["difference_high"]
    assert full["mcnemar_step_p"] == 2 / 2 ** full["only_this_right"]
    assert full["holm_p"] >= full["p"] > full["mcnemar_step_p"]  # three streams show less than 18 steps would
    assert full["changed"] == full["difference"]  # without an update the answer is always the first value
    assert full["dollars"] == full["read"]
    assert not {"difference", "dollars"} & set(floor)  # a floor asks no model, so it belongs to none
    beside = compared_rows(finished_in(tmp_path), "majority", Price())
    told = next(row for row in beside if row["method"] == "llm_as_rnn" and row["budget"] == 50 and row["part"] == "all")
    assert told["difference"] == pytest.approx(1.0 - floor["score"])
    assert "against" not in whole["zero_shot", None]
    write_table(tmp_path / "table.csv", TABLE_COLUMNS, rows)
    header = (tmp_path / "table.csv").read_text().splitlines()[0].split(",")
    assert header == [*COLUMNS, *PAIRED]
    assert {column for row in rows for column in row} <= set(TABLE_COLUMNS)
    with pytest.raises(UsageError, match="did you mean 'zero_shot'"):
        compared_rows(finished_in(tmp_path), "zeroshot", Price())


def test_one_stream_has_no_interval_and_no_p_value(tmp_path: Path):
    """One stream does not show how much streams differ.  The test over its own steps is still reported."""
    for chosen in (cell("zero_shot"), cell(budget=50), cell("search")):
        performed(replace(chosen, streams=1), tmp_path)
    rows = compared_rows(finished_in(tmp_path), "zero_shot", Price())
    full = next(row for row in rows if row["method"] == "llm_as_rnn" and row["part"] == "all")
    assert (full["difference"] > 0, full["p"], full["holm_p"]) == (True, None, None)
    assert "score_low" not in full
    assert "difference_low" not in full
    assert full["mcnemar_step_p"] < 1


def test_if_all_answers_are_right_the_interval_is_wilsons_over_the_streams(tmp_path: Path):
    whole, *_ = performed(cell(budget=50), tmp_path)
    assert (whole["score"], whole["score_high"]) == (1.0, 1.0)
    assert whole["score_low"] == pytest.approx(wilson_interval(1.0, 3)[0])


def test_the_share_changed_by_updates_is_known_without_a_zero_shot_run(tmp_path: Path):
    """All 18 answers of the empty memory are the first value; the notes give the right one."""
    for chosen in (cell(budget=50), cell("no_update")):
        performed(chosen, tmp_path)
    found = finished_in(tmp_path)
    told = {row["method"]: row.get("changed") for row in compared_rows(found, "zero_shot", Price()) if "calls" in row}
    right = {run.cell.method: run.whole["score"] for run in found}
    assert right["llm_as_rnn"] == 1
    assert told == {"llm_as_rnn": pytest.approx(1 - right["no_update"]), "no_update": None}


def printed(line: str, capsys: pytest.CaptureFixture[str]) -> list[dict[str, str]]:
    """The rows of the table that a command prints, by column; a column is found by where its heading ends."""
    assert main(line.split()) == 0
    head, *rows = capsys.readouterr().out.rstrip().split("\n")
    ends = {word: head.index(word) + len(word) for word in ("changed", "calls", "tokens", "seconds", "dollars")
            if word in head}  # fmt: skip
    return [{word: row[:end].rpartition(" ")[2] for word, end in ends.items()} for row in rows]


def test_the_table_has_the_share_changed_by_updates_and_the_cost_of_a_method(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    run = f"memory run drift --model scripted:note_taker --steps 12 --streams 2 --budget 30 --runs-dir {tmp_path}"
    run += " --no-floors --method llm_as_rnn,no_update"
    methods, _ = printed(run, capsys)
    assert list(methods) == ["changed", "calls", "tokens", "seconds"]
    assert 0 < float(methods["changed"]) <= 1
    assert float(methods["seconds"]) >= 0
    (found,) = [each for each in finished_in(tmp_path) if each.cell.method == "llm_as_rnn"]
    assert methods["calls"] == str(found.whole["calls"])
    for line in (run, f"memory table --runs-dir {tmp_path}"):
        priced, still = printed(f"{line} --price-read 1000000 --price-written 2000000", capsys)
        expected = found.whole["read"] + 2 * found.whole["written"]
        assert float(priced["dollars"].replace(",", "")) == expected
        assert float(still["dollars"].replace(",", "")) > 0


def test_a_run_is_shown_step_by_step_with_its_diffs_and_reasons(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    performed(cell(budget=12), tmp_path)
    performed(cell(budget=12, rule="overrunning"), tmp_path)
    fine, over = (RunDirectory.of(cell(budget=12, rule=rule), tmp_path) for rule in ("note_taker", "overrunning"))
    show_run(fine, 1, Console(width=100))
    told = capsys.readouterr().out
    assert "+ - " in told
    assert any(line.strip("│ ") == f"[{'#' * 40}] 12 of 12 tokens" for line in told.splitlines())
    show_run(over, 0, Console(width=100))
    assert "memory over budget: it has 13 tokens, 12 are allowed" in capsys.readouterr().out
    with pytest.raises(UsageError, match="has streams 0 to 2"):
        show_run(fine, 7, Console())
    (over.path / STEPS).write_text((fine.path / STEPS).read_text())
    with pytest.raises(RunError, match="is the log of another run"):
        show_run(over, 0, Console())


@pytest.mark.parametrize(
    ("chosen", "error", "told"),
    [
        (cell(budget=5), UsageError, "--budget 5 is smaller than the 6 tokens of the empty memory's headings"),
        (cell("oracle"), UsageError, "did you mean 'oracle_memory'"),
        (cell("no_change"), UsageError, "the floor no_change says nothing of value"),
        (replace(cell(), model=None), UsageError, "llm_as_rnn needs --model"),
        (cell(rule="notetaker"), UsageError, "did you mean 'note_taker'"),
        (replace(cell(), target="rain"), TaskError, "unknown target 'rain'"),
        (replace(cell(), streams=0), TaskError, "has no end of them"),
        (
            replace(cell(), model=LLMConfig(model="scripted:prose", context_limit=40)),
            UsageError,
            "--budget 40 does not fit into the model's context of 40 tokens",
        ),
    ],
)
def test_invalid_settings_are_refused_in_one_line(
    tmp_path: Path, chosen: MemoryCell, error: type[Exception], told: str
):
    with pytest.raises(error, match=told) as refused:
        performed(chosen, tmp_path)
    assert "\n" not in str(refused.value)


def test_answers_before_a_prompt_that_does_not_fit_are_kept(tmp_path: Path):
    narrow = replace(cell("full_history", budget=90), model=LLMConfig(model="scripted:note_taker", context_limit=120))
    with pytest.raises(RunError, match="does not fit into the model's context"):
        performed(narrow, tmp_path)
    assert (tmp_path / REPLIES).stat().st_size > 0


def test_unused_answers_are_counted_below_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    run = f"memory run drift --steps 6 --streams 2 --method llm_as_rnn --budget 40 --no-floors --runs-dir {tmp_path}"
    assert main([*run.split(), "--model", "scripted:stalling"]) == 0
    told = capsys.readouterr().out
    assert "drift llm_as_rnn, scripted:stalling: 12 answers were cut at the limit of a reply" in told
    assert "10 of 10 new memories were refused (10 cut)" in told
    judged = ["--model", "scripted:note_taker", "--feedback", "judge", "--judge", "scripted:prose"]
    assert main([*run.split(), *judged]) == 0
    assert "drift llm_as_rnn, scripted:note_taker: 10 judgements could not be read\n" in capsys.readouterr().out
    assert main([*run.split(), "--model", "scripted:note_taker"]) == 0
    assert "drift llm_as_rnn, scripted" not in capsys.readouterr().out


def test_settings_are_printed_if_rows_differ_in_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    run = "memory run drift --model scripted:note_taker --budget 30 --no-floors --method zero_shot,episodes"
    table = f"memory table --runs-dir {tmp_path}"
    words = (
        "options cues=4 labels=2 period=3",
        "streams 2",
        "steps 8",
        " k 3",
        "temperature 0",
        "draw 0",
        "thinking 9",
        "judge scripted",
    )
    assert main(f"{run} --steps 8 --streams 2 --k 3 --runs-dir {tmp_path}".split()) == 0
    first = capsys.readouterr().out
    assert [word for word in words if word in first] == []
    others = ("--k 4", "--steps 9", "--streams 3", "--temperature 0.5", "--draw 1", "--thinking 9")
    others += ("--options period=3", "--feedback judge --judge scripted:prose")
    for other in others:
        settings = {"--steps": "8", "--streams": "2", "--k": "3"} | dict([other.split()[:2]])
        given = " ".join(f"{name} {value}" for name, value in settings.items())
        more = " ".join(other.split()[2:])
        assert main(f"{run} {given} {more} --runs-dir {tmp_path}".split()) == 0
    capsys.readouterr()
    assert main(table.split()) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert [word for word in words if word not in told] == []


def test_the_commands_run_show_table_and_stream_work(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    run = f"memory run drift --model scripted:note_taker --steps 20 --streams 2 --budget 30 --runs-dir {tmp_path}"
    assert main([*run.split(), "--dry-run"]) == 0
    assert "The first prompt:" in capsys.readouterr().out
    assert main(run.split()) == 0
    assert "llm_as_rnn" in capsys.readouterr().out
    (found,) = tmp_path.glob("drift-llm_as_rnn-*")
    assert main(["memory", "show", str(found), "--stream", "1"]) == 0
    assert main(f"memory table --csv {tmp_path}/t.csv --runs-dir {tmp_path}".split()) == 0
    assert "rows written to" in capsys.readouterr().out
    assert main("memory stream recall --count 1 --format jsonl --options facts=2".split()) == 0
    assert len(capsys.readouterr().out.splitlines()) == 4


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("memory stream wether", "did you mean 'weather'"),
        ("memory stream weather", "weather needs --data"),
        ("memory stream recall --steps 1", "one step"),
        ("memory run recall --model scripted:prose --method zeroshot", "did you mean 'zero_shot'"),
        ("memory run recall --model scripted:prose --budget 0", "--budget 0 is invalid"),
        ("memory run finance --data absent.csv --model scripted:prose", "absent.csv cannot be read"),
        ("memory table --runs-dir /nowhere", "is not a folder of runs"),
        ("memory show /nowhere", "is not a run directory"),
    ],
)
def test_wrong_use_of_the_commands_is_one_line_and_status_2(words: str, told: str, capsys: pytest.CaptureFixture[str]):
    assert main(words.split()) == 2
    line = capsys.readouterr().err
    assert told in line
    assert line.count("\n") == 1


@pytest.mark.parametrize("series", ["weather", "drift"])
def test_presets_name_each_cell_once_and_have_all_methods(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, series: str):
    """Without the weather file, a drawn stream takes its place."""
    monkeypatch.setenv("RETRIEVAL_GAP_DATA", str(tmp_path))
    if series == "weather":
        (tmp_path / "weather").mkdir()
        (tmp_path / "weather" / "seattle_newyork_daily.csv").write_text("")
    for name in ("memory_demo", "memory_cpu"):
        cells = preset_cells(name)
        methods = [each.method for each in cells if isinstance(each, MemoryCell) and each.benchmark == series]
        assert {"llm_as_rnn", "oracle_memory", "episodes", "memprompt", "zero_shot", "majority"} <= set(methods)
        assert len({str(each.to_json()) for each in cells}) == len(cells)
