"""Feedback after a prediction: no method gets more of it than another, or gets it sooner."""

from pathlib import Path

import pytest

from retrieval_gap.llm.request import Request, ScoreRequest
from retrieval_gap.machine.errors import UsageError
from retrieval_gap.tasks.streams.stream import Target
from retrieval_gap.text_memory.answers import check_answer_form, parsed
from retrieval_gap.text_memory.lookup import ranked
from retrieval_gap.text_memory.outcomes import judged, shuffled_truths
from retrieval_gap.text_memory.settings import METHODS, Settings
from tests.llm.scripted_model import ScriptedModel
from tests.text_memory.working import drawn, scripted, share_right, worked_through

DRIFT = drawn("drift", "cues=3 labels=4 period=8", steps=24)
TARGET = DRIFT.target("")


@pytest.mark.parametrize("method", [method for method in METHODS if method != "oracle_memory"])
@pytest.mark.parametrize("feedback", ["shuffled", "none", "judge"])
def test_without_the_truth_no_prompt_of_a_step_depends_on_it(tmp_path: Path, method: str, feedback: str):
    """With the same cues and another rule, all requests are the same if no truth is told.  A shuffled truth is that of
    another step and may differ, so only the first two requests are compared."""
    settings = Settings(budget=80, feedback=feedback)  # type: ignore[arg-type]
    asked = []
    for relabel in ({}, {"left": "up", "up": "left", "right": "down", "down": "right"}):
        model = scripted("note_taker")
        benchmark = drawn("drift", "cues=3 labels=4 period=8", steps=24)
        plain = benchmark.stream

        def relabelled(number: int, plain=plain, relabel=relabel):  # type: ignore[no-untyped-def]
            from dataclasses import replace

            stream = plain(number)
            steps = [
                replace(step, truth={"label": relabel.get(str(step.truth["label"]), step.truth["label"])})
                for step in stream.steps
                if step.truth is not None
            ]
            return replace(stream, steps=tuple(steps))

        benchmark.stream = relabelled  # type: ignore[method-assign]
        worked_through(tmp_path / str(len(relabel)), benchmark, method, model, settings, streams=1)
        asked.append([request.prompt for request in model.asked])
    if feedback == "shuffled":
        assert asked[0][:2] == asked[1][:2]
    else:
        assert asked[0] == asked[1]


def test_the_truth_helps_a_note_taker_and_another_steps_does_not(tmp_path: Path):
    right = {}
    for feedback in ("truth", "shuffled", "none"):
        settings = Settings(budget=80, feedback=feedback)  # type: ignore[arg-type]
        steady = drawn("drift", "cues=3 labels=4 period=1000", steps=60)
        folder = tmp_path / feedback
        right[feedback] = share_right(
            worked_through(folder, steady, "llm_as_rnn", scripted("note_taker"), settings, 12)
        )
    assert right["truth"] > 0.9
    assert right["shuffled"] < 0.6
    assert right["none"] < 0.45


def test_a_shuffled_truth_is_that_of_an_earlier_step(tmp_path: Path):
    stream = drawn("drift", "cues=12 labels=8 period=1", steps=40).stream(0)
    told = shuffled_truths(stream, TARGET, 0)
    assert set(told) == set(range(1, 40))
    for number, value in told.items():
        assert value in {step.truth["label"] for step in stream.steps[:number] if step.truth}
    assert shuffled_truths(stream, TARGET, 1) != told == shuffled_truths(stream, TARGET, 0)


def test_a_judge_sees_no_truth_and_its_nonsense_is_counted_and_gives_no_feedback(tmp_path: Path):
    judge = ScriptedModel(lambda request: "who knows")
    records = worked_through(
        tmp_path, DRIFT, "memprompt", scripted("note_taker"), Settings(feedback="judge"), streams=1, judge=judge
    )
    assert all(record.judge_unreadable for record in records[:-1])  # the last step's outcome comes after the end
    assert {record.feedback for record in records} == {""}
    assert all("Outcome" not in request.prompt for request in judge.asked)


def test_a_judgement_and_its_advice_become_feedback(tmp_path: Path):
    judge = ScriptedModel(lambda request: 'Yes: {"right": false, "advice": "look\\nagain"}')
    records = worked_through(
        tmp_path, DRIFT, "memprompt", scripted("note_taker"), Settings(feedback="judge"), streams=1, judge=judge
    )
    assert records[0].feedback == "A judge finds the prediction wrong. look again"
    assert records[5].carried.count("A judge finds the prediction wrong") == 5


@pytest.mark.parametrize("text", ["", "right", '{"right": "yes"}', '{"right": 1}', "{", "[true]"])
def test_other_texts_are_not_read_as_judgements(text: str):
    from retrieval_gap.llm.request import Completion

    assert judged(Completion(text=text, finished=True)) is None


def target(kind: str, *options: str) -> Target:
    return Target(name="x", kind=kind, question="?", options=options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("of", "text", "answer"),
    [
        (target("choice", "rain", "sun"), '{"answer": "Rain"}', "rain"),
        (target("choice", "rain", "sun"), 'I think {"answer": "sun"} but no: {"answer": "rain"}', "rain"),
        (target("choice", "rain", "sun"), '{"answer": "snow"}', None),
        (target("choice", "rain", "sun"), "rain", None),
        (target("number"), '{"answer": "-1.5%"}', -1.5),
        (target("number"), '{"answer": 2}', 2.0),
        (target("number"), '{"answer": NaN}', None),
        (target("number"), '{"answer": true}', None),
        (target("number"), '{"answer": 1e999}', None),
        (target("number"), '{"answer": 1e200}', None),
        (target("number"), '{"answer": -1e99}', -1e99),
        (target("number"), '{"answer": 1' + "0" * 400 + "}", None),
        (target("number"), '{"answer": 1' + "0" * 5000 + "}", None),
        (target("ranked"), '{"answer": ["a", " b", ""]}', ("a", "b")),
        (target("ranked"), '{"answer": "a"}', ("a",)),
        (target("ranked"), '{"answer": []}', None),
        (target("text"), '{"answer": "Foggy."}', "Foggy."),
        (target("text"), '{"answer": ""}', None),
        (target("text"), '{"other": "Foggy."}', None),
    ],
)
def test_answers_are_read_by_kind_of_target(of: Target, text: str, answer: object):
    assert parsed(of, text) == answer


def test_scored_answers_are_the_likeliest_and_need_a_list_of_options(tmp_path: Path):
    liked = ScriptedModel(lambda request: "", lambda request, answer: 0.0 if answer == " down" else -3.0)
    records = worked_through(tmp_path, DRIFT, "zero_shot", liked, Settings(answer="score"), streams=1)
    assert {record.predicted for record in records} == {"down"}
    assert all(isinstance(request, ScoreRequest) for request in liked.asked)
    with pytest.raises(UsageError, match="--answer score needs a list"):
        check_answer_form(target("number"), "score")


def test_calibrated_answers_are_those_that_the_input_makes_likelier(tmp_path: Path):
    def likelihood(request: ScoreRequest, answer: str) -> float:
        """`up` is always likely; `left` is likelier with the input than without."""
        return {" up": -1.0, " left": -2.0 if "N/A" not in request.prompt else -4.0}.get(answer, -9.0)

    model = ScriptedModel(lambda request: "", likelihood)
    for form, answer in (("score", "up"), ("calibrated", "left")):
        settings = Settings(answer=form)  # type: ignore[arg-type]
        records = worked_through(tmp_path, DRIFT, "zero_shot", model, settings, streams=1)
        assert {record.predicted for record in records} == {answer}


def test_a_grammar_is_sent_with_the_request(tmp_path: Path):
    model = scripted("note_taker")
    worked_through(tmp_path, DRIFT, "zero_shot", model, Settings(answer="grammar"), streams=1)
    asked = [request for request in model.asked if isinstance(request, Request)]
    assert asked
    assert all('"enum": ["left", "right", "up", "down"]' in request.schema for request in asked)


def test_lookup_ranks_like_bm25s():
    import bm25s

    texts = ["rain in the north", "sun and sun", "rain rain rain and wind", "snow", "north wind", "a rainy day"]
    for query in ("rain wind", "north", "sun", "the day"):
        index = bm25s.BM25(method="lucene", k1=1.5, b=0.75)
        index.index([text.split() for text in texts], show_progress=False)
        scores = index.get_scores([word for word in query.split() if any(word in text.split() for text in texts)])
        best = ranked(query, texts, len(texts))
        assert [scores[place] for place in best] == sorted(scores, reverse=True)


def test_of_texts_with_equal_scores_the_later_comes_first():
    assert ranked("nothing", ["a", "b", "c"], 2) == [2, 1]
    assert ranked("x", [], 3) == []
