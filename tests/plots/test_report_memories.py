"""The report page shows memory runs in order and with their logs, and notes what it leaves out."""

import json
from pathlib import Path

import pytest

from retrieval_gap.experiments.memories.cell import STEPS
from retrieval_gap.machine.errors import UsageError
from retrieval_gap.plots.report.memories import shown_memories
from retrieval_gap.plots.report.sources import gather
from tests.plots.report_pages import memory_run


def test_a_run_has_its_label_its_budget_and_each_step_of_each_stream(tmp_path: Path) -> None:
    run = memory_run(tmp_path)
    (shown,), notes = shown_memories([tmp_path])
    log = [json.loads(line) for line in (run.path / STEPS).read_text().splitlines()][1:]
    assert notes == []
    assert shown["label"] == "drift-llm_as_rnn-scripted_note_taker-b24-s0 truth rewrite"
    assert shown["budget"] == 24
    assert [stream["number"] for stream in shown["streams"]] == [0, 1]
    steps = [step for stream in shown["streams"] for step in stream["steps"]]
    for step, logged in zip(steps, log, strict=True):
        assert {name: logged[name] for name in ("carried", "carried_tokens", "feedback", "predicted")}.items() <= (
            step.items()
        )
        assert [version["diff"] for version in step["versions"]] == [each["diff"] for each in logged["versions"]]


def test_methods_that_write_come_first_and_floors_and_unfinished_runs_are_not_shown(tmp_path: Path) -> None:
    memory_run(tmp_path / "some", "oracle_memory")
    memory_run(tmp_path / "some", "zero_shot")
    memory_run(tmp_path / "some", "majority")
    memory_run(tmp_path / "some")
    memory_run(tmp_path / "some", rule="prose").result.unlink()
    found, _ = shown_memories([tmp_path])  # the folder above
    assert [memory["label"].split("-")[1] for memory in found] == ["llm_as_rnn", "zero_shot", "oracle_memory"]


def test_an_unreadable_reply_is_kept_as_it_was_written(tmp_path: Path) -> None:
    memory_run(tmp_path, "zero_shot", rule="prose")
    (shown,), _ = shown_memories([tmp_path])
    step = shown["streams"][0]["steps"][0]
    assert step["predicted"] is None
    assert step["reply"].startswith("I would say that it depends")


@pytest.mark.parametrize("line", ["{", '{"stream": 0}', "[]", '{"run": "other"}'])
def test_a_damaged_log_is_reported_and_the_others_are_shown(line: str, tmp_path: Path) -> None:
    memory_run(tmp_path)
    log = memory_run(tmp_path, "zero_shot").path / STEPS
    log.write_text(line if "run" in line else log.read_text() + line + "\n")
    found, notes = shown_memories([tmp_path])
    assert len(found) == 1
    assert len(notes) == 1
    assert notes[0].startswith(f"Not shown: {log}")


def test_memories_past_the_pages_room_are_left_out_with_a_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    memory_run(tmp_path)
    memory_run(tmp_path, "zero_shot")
    sizes = [len(str(memory)) for memory in shown_memories([tmp_path])[0]]
    assert sizes[0] > sizes[1]
    monkeypatch.setattr("retrieval_gap.plots.report.memories.MEMORY_CHARACTERS", sizes[1])
    found, notes = shown_memories([tmp_path])
    assert [memory["label"].split("-")[1] for memory in found] == ["zero_shot"]
    assert notes == ["The memories of 1 runs are left out: the page would be too large."]


def test_a_page_with_only_memory_runs_needs_no_trained_model(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no finished run to report"):
        gather([tmp_path], [])
    memory_run(tmp_path)
    gathered = gather([tmp_path], [])
    assert gathered.entries == []
    assert (1, "memory run") in gathered.summary()
