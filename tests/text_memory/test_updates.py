"""Invalid replies: each is logged with its reason, and the old memory is kept."""

from collections import Counter
from pathlib import Path

import pytest

from retrieval_gap.llm.request import Request
from retrieval_gap.machine.errors import RunError
from retrieval_gap.text_memory.dialogue import StepRecord
from retrieval_gap.text_memory.memory import Memory
from retrieval_gap.text_memory.scripted import ScriptedBackend, note_taker
from retrieval_gap.text_memory.settings import Settings
from tests.llm.scripted_model import ScriptedModel
from tests.text_memory.working import drawn, scripted, share_right, worked_through

DRIFT = drawn("drift", "cues=3 labels=2 period=10", steps=30)
RECALL = drawn("recall", "facts=6 values=4")


def reasons(records: list[StepRecord]) -> Counter[str]:
    return Counter(version.reason for record in records for version in record.versions)


@pytest.mark.parametrize(
    ("rule", "reason"),
    [("overrunning", "over budget"), ("echoing", "echo"), ("prose", "unreadable"), ("stalling", "cut")],
)
def test_a_model_that_does_one_thing_wrong_keeps_the_empty_memory_and_the_log_says_why(
    tmp_path: Path, rule: str, reason: str
):
    records = worked_through(tmp_path, RECALL, "llm_as_rnn", scripted(rule), Settings(budget=300))
    assert reasons(records) == {reason: 4 * 6}
    assert {version.text for record in records for version in record.versions} == {Memory().text}


def test_an_unreadable_answer_is_none_and_counts_as_wrong(tmp_path: Path):
    records = worked_through(tmp_path, RECALL, "zero_shot", scripted("prose"), Settings())
    assert all(record.predicted is None for record in records if record.asked)
    assert share_right(records) == 0


def test_notes_over_budget_are_consolidated_once_then_tried_again_then_refused(tmp_path: Path):
    """One token too many: in the first reply, in the consolidated one, and in the second try."""
    model = scripted("overrunning")
    records = worked_through(tmp_path, RECALL, "llm_as_rnn", model, Settings(budget=30), streams=1)
    asked = [
        request.prompt for request in model.asked if isinstance(request, Request) and request.system[:8] == "You keep"
    ]
    first = asked[:3]
    assert "Write the new notes" in first[0]
    assert first[1].startswith("Task:")
    assert "These notes have 31 tokens, 30 are allowed" in first[1]
    assert first[2].startswith(first[0])
    assert "Your last reply was not used: it has 31 tokens, 30 are allowed" in first[2]
    version = records[0].versions[0]
    assert (version.reason, version.told) == ("over budget", "it has 31 tokens, 30 are allowed")
    assert records[0].calls == 3


def test_a_consolidation_that_fits_is_taken(tmp_path: Path):
    def answer(request: Request) -> str:
        if "These notes have" in request.prompt:
            return "History:\n- short"
        return "History:\n- " + "long " * 40 if "Write the new notes" in request.prompt else '{"answer": "left"}'

    records = worked_through(tmp_path, DRIFT, "llm_as_rnn", ScriptedModel(answer), Settings(budget=20), streams=1)
    assert reasons(records)["consolidated"] == 1  # it is the same text from then on
    assert reasons(records)["unchanged"] == 28
    assert records[0].versions[0].diff == ("+ - short",)


def test_a_second_try_that_can_be_read_is_taken(tmp_path: Path):
    def answer(request: Request) -> str:
        if "was not used" in request.prompt:
            return "History:\n- read"
        return "prose" if "Write the new notes" in request.prompt else '{"answer": "left"}'

    records = worked_through(tmp_path, DRIFT, "llm_as_rnn", ScriptedModel(answer), Settings(budget=20), streams=1)
    assert reasons(records)["second try"] == 1


def test_the_gate_refuses_a_memory_that_predicts_the_last_steps_worse(tmp_path: Path):
    """For each red cue the model writes useless notes: with the gate the old ones stay, without it they are gone."""

    def answer(request: Request) -> str:
        spoilt = "Write the new notes" in request.prompt and "colour: red" in request.prompt.rpartition("Step:")[2]
        return "History:\n- nothing" if spoilt else note_taker(f"{request.system}\n\n{request.prompt}")

    still = drawn("drift", "cues=3 labels=2 period=1000", steps=30, seed=1)
    accuracies = {}
    for gate in (0, 5):
        model = ScriptedModel(answer)
        model.count_tokens = ScriptedBackend("note_taker").count_tokens  # type: ignore[method-assign]
        records = worked_through(tmp_path / str(gate), still, "llm_as_rnn", model, Settings(budget=60, gate=gate))
        accuracies[gate] = share_right(records)
        assert (reasons(records)["gate"] > 0) == (gate > 0)
        for record in records:
            for version in record.versions:
                assert version.reason != "gate" or "before" in version.told
    assert accuracies[5] > accuracies[0]


def test_a_prompt_that_does_not_fit_ends_the_run(tmp_path: Path):
    model = ScriptedBackend("note_taker", context_limit=100)
    with pytest.raises(RunError, match="does not fit into the model's context"):
        worked_through(tmp_path, RECALL, "full_history", model, Settings(budget=90))
