"""After odd replies a run continues, its log is read back, and the table is made."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from retrieval_gap.cli import main
from retrieval_gap.experiments.memories.cell import STEPS, MemoryCell
from retrieval_gap.experiments.memories.comparison import compared_rows
from retrieval_gap.experiments.memories.work import read_log
from retrieval_gap.llm.config import LLMConfig, Price
from retrieval_gap.runs.directory import RunDirectory
from retrieval_gap.runs.experiment import RunOptions
from retrieval_gap.runs.perform import perform
from retrieval_gap.text_memory import prompts
from retrieval_gap.text_memory.scripted import RULES
from retrieval_gap.text_memory.settings import Settings
from tests.experiments.memories.cells import finished_in
from tests.tasks.streams.files import written

ODD = LLMConfig(model="scripted:odd")
DRIFT = MemoryCell(benchmark="drift", method="llm_as_rnn", streams=2, steps=4, model=ODD)


def steps_of(folder: Path, monkeypatch: pytest.MonkeyPatch, rule: Callable[[str], str], **settings: object) -> list:
    """The log of a run of LLM-as-RNN on `drift` whose model follows the rule."""
    monkeypatch.setitem(RULES, "odd", rule)
    chosen = replace(DRIFT, settings=Settings(budget=60, **settings))  # type: ignore[arg-type]
    perform(chosen, RunOptions(runs_dir=folder, threads=1))
    return read_log(RunDirectory.of(chosen, folder).path / STEPS, chosen.hash())


@pytest.mark.parametrize("mark", ["\u2028", "\u2029", "\x85", "\x0b", "\x1c", "\r"])
def test_a_reply_with_any_line_ending_is_read_back_unchanged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], mark: str
) -> None:
    reply = f'first{mark}second {{"answer": "left"}}'
    steps = steps_of(tmp_path, monkeypatch, lambda prompt: reply if prompts.NOW in prompt else f"History:{mark}- note")
    assert [step["reply"] for step in steps] == [reply] * 8
    assert {step["predicted"] for step in steps} == {"left"}
    (row, *_) = compared_rows(finished_in(tmp_path), "zero_shot", Price())
    assert (row["predictions"], row["unreadable"]) == (8, 0)
    (run,) = tmp_path.glob("drift-*")
    assert main(["memory", "show", str(run)]) == 0
    assert "- note" in capsys.readouterr().out


def test_half_a_character_in_an_answer_a_memory_or_a_judgement_is_written_as_a_question_mark(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half(prompt: str) -> str:
        if '{"right"' in prompt:
            return r'{"right": true, "advice": "look \ud800"}'
        return r'{"answer": "\udfff"}' if prompts.NOW in prompt else r'{"History": ["note \ud83d"]}'

    steps = steps_of(tmp_path, monkeypatch, half, feedback="judge")
    assert steps[0]["predicted"] is None
    assert steps[0]["feedback"] == "A judge finds the prediction right. look ?"
    assert steps[1]["carried"] == "History:\n- note ?\nStatus:\nWatch:"


@pytest.mark.parametrize("edit", ["REPLACE 0: x", "REMOVE 0", "REMOVE 00", f"REMOVE {'9' * 5000}", "REPLACE 7: x"])
def test_an_edit_of_a_missing_item_is_refused_and_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, edit: str
) -> None:
    def answer(prompt: str) -> str:
        if prompts.NOW in prompt:
            return '{"answer": "left"}'
        return f"ADD History: seen\n{edit}" if "colour: red" in prompt else edit

    steps = steps_of(tmp_path, monkeypatch, answer, update="edits")
    told = {(version["reason"], version["told"]) for step in steps for version in step["versions"]}
    assert told <= {("unreadable", "1 lines are not edits"), ("unreadable", "no line is an edit")}
    assert told
    assert {step["carried"] for step in steps} == {"History:\nStatus:\nWatch:"}


@pytest.mark.parametrize(
    ("number", "score"),
    [("1e200", None), ("-1.7e308", None), ("1" + "0" * 400, None), ("1e400", None), ("1e99", -1e99), ("-300", -300)],
)
def test_any_number_is_scored_or_counted_as_no_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: str, score: float | None
) -> None:
    days = [f"2020-01-{day:02},100,100,100,{100 + day % 3}" for day in range(1, 21)]
    prices = written(tmp_path, "prices.csv", "date,open,high,low,close", *days)
    monkeypatch.setitem(RULES, "odd", lambda prompt: f'{{"answer": {number}}}' if prompts.NOW in prompt else "no")
    chosen = replace(DRIFT, benchmark="finance", data=str(prices), settings=Settings(gate=2))
    whole = perform(chosen, RunOptions(runs_dir=tmp_path / "runs", threads=1))[0]
    assert (whole["predictions"], whole["unreadable"]) == (8, 8 if score is None else 0)
    assert whole["score"] == (None if score is None else pytest.approx(score, rel=0.02))  # prices change by 2 %
    assert whole.get("squared") == (None if score is None else pytest.approx(score * score, rel=0.02))
