"""Recall and drift draw their streams by the documented rules."""

import json
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval_gap.commands.stream_records import print_streams
from retrieval_gap.tasks.api import TaskError
from retrieval_gap.tasks.streams.drift import CUES, Drift
from retrieval_gap.tasks.streams.recall import Recall
from retrieval_gap.tasks.streams.stream import StreamConfig, seen


def recall(options: str, steps: int = 0, seed: int = 0) -> Recall:
    return Recall(StreamConfig(options=options, steps=steps, seed=seed))


@settings(max_examples=40)
@given(st.integers(1, 70), st.integers(2, 32), st.data())
def test_every_question_of_recall_is_answered_by_the_last_fact_about_it(facts: int, values: int, data: st.DataObject):
    corrections = data.draw(st.integers(0, facts))
    benchmark = recall(f"facts={facts} values={values} corrections={corrections}", seed=data.draw(st.integers(0, 99)))
    steps = benchmark.stream(data.draw(st.integers(0, 9))).steps
    assert len(steps) == 2 * facts + corrections
    told: dict[str, str] = {}
    for step in steps[: facts + corrections]:
        assert step.truth is None
        key, value = step.input["fact"].rstrip(".").split(" has a ")
        told[key] = value
    for step in steps[facts + corrections :]:
        asked = step.lead.removesuffix(" has a")
        assert step.input == {"question": f"Which animal does {asked} have?"}
        assert step.truth == {"value": told[asked]}
        assert step.known_after == len(steps)
    assert len({step.lead for step in steps[facts + corrections :]}) == facts == len(told)


def test_values_of_recall_are_uniform_and_its_bits_are_those_of_uniform_values():
    benchmark = recall("facts=4 values=4 corrections=4")
    counts = Counter(
        step.truth["value"] for number in range(1_000) for step in benchmark.stream(number).steps if step.truth
    )
    assert sum((count - 1_000) ** 2 / 1_000 for count in counts.values()) < 16.3  # chi2, 3 degrees, p = 0.001
    assert benchmark.bits_needed == 8


def test_the_notes_of_recalls_oracle_hold_the_last_version_of_each_fact():
    benchmark = recall("facts=5 values=4 corrections=3")
    steps = benchmark.stream(0).steps
    notes = benchmark.oracle_notes(seen(steps, steps[8]), benchmark.target(""))
    truths = {f"{step.lead} {step.truth['value']}." for step in steps if step.truth}
    assert set(notes) == truths
    assert notes[0] == steps[7].input["fact"]


def test_recall_is_cut_to_its_first_steps_and_refused_without_a_question():
    assert len(recall("facts=4", steps=6).stream(0).steps) == 6
    with pytest.raises(TaskError, match="leaves no question"):
        recall("facts=4", steps=4)
    with pytest.raises(TaskError, match=r"--corrections 5 is outside 0\.\.4"):
        recall("facts=4 corrections=5")


def test_a_rule_of_drift_holds_for_a_period_and_its_oracle_follows():
    benchmark = Drift(StreamConfig(options="cues=3 labels=2 period=20", steps=200))
    steps = benchmark.stream(0).steps
    for start in range(0, 200, 20):
        period = steps[start : start + 20]
        assert len({(step.input["colour"], str(step.truth)) for step in period}) <= 3
        assert {step.input["colour"] for step in period} <= set(CUES[:3])
        notes = dict(note.split(": ") for note in benchmark.oracle_notes(seen(steps, period[-1]), benchmark.target("")))
        for step in period[10:-1]:
            assert step.truth is not None
            if step.input["colour"] in notes:
                assert notes[step.input["colour"]] == step.truth["label"]


def test_each_line_of_json_lines_is_a_step(capsys: pytest.CaptureFixture[str]):
    print_streams(recall("facts=2 values=2"), 1, 2, "jsonl")
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["stream"], line["step"]) for line in lines] == [(s, t) for s in (1, 2) for t in range(4)]
    assert set(lines[0]) == {"benchmark", "stream", "name", "step", "time", "input", "truth", "known_after"}
    assert lines[0]["truth"] is None
    assert lines[2]["known_after"] == 4


def test_the_text_form_says_what_is_known_when(capsys: pytest.CaptureFixture[str]):
    print_streams(Drift(StreamConfig(steps=2)), 0, 1, "text")
    told = capsys.readouterr().out.splitlines()
    assert told[0] == "stream 0: draw 0"
    assert "(known after 1)" in told[1]
