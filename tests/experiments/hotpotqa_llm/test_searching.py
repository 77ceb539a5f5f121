"""A model's own searches are executed in bounded time; BM25 keeps the best; prompts show what is searched."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval_gap.experiments.hotpotqa_llm.methods import Answer, Dialogue, Method, dialogue
from retrieval_gap.experiments.hotpotqa_llm.prompts import exemplars, prompt, with_results
from retrieval_gap.experiments.hotpotqa_llm.scoring import extracted_answer, score
from retrieval_gap.experiments.hotpotqa_llm.searching import (
    FAILED,
    LONGEST_RESULT,
    bm25_choice,
    paragraph_text,
    regex_search,
)
from retrieval_gap.llm.config import AskConfig
from retrieval_gap.llm.request import Completion, Reply, Request, TooLong
from retrieval_gap.tasks.hotpotqa.data.records import Question
from retrieval_gap.tasks.hotpotqa.data.subsets import Shown, ShownParagraph

OTHER = ShownParagraph("Tea", ("Tea is a drink.", "Person 40 likes it."), False)
CLUB = ShownParagraph("Club 4", ("Club 4 plays chess.", "It was founded by Person 4."), True)
PERSON = ShownParagraph("Person 4", ("Person 4 was born in Town 4.", "", "They like tea."), True)
FILLER = ShownParagraph("", ("tea likes Club they.",), False)
PARAGRAPHS = (OTHER, CLUB, PERSON, FILLER)
QUESTION = Question(
    id="q", question="Where was the founder of Club 4 born?", answer="Town 4", kind="bridge", level="",
    paragraphs=(), supporting=(("Club 4", 1), ("Person 4", 0)),
)  # fmt: skip
SHOWN = Shown(QUESTION, PARAGRAPHS)


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        (r"founded by (Person \d+)", "Person 4"),
        (r"Club 4.*founded by (Nobody)?(Person 4)", "Person 4"),  # the first group that is not empty
        (r"founded by Person 4", "It was founded by Person 4."),  # without groups, the whole sentence
        (r"chess.*founded", "Club 4 plays chess. It was founded by Person 4."),
        (r"4: Person 4 was", "Person 4 Person 4 was born in Town 4."),  # a title is a sentence of its own
        (r"(?i)THEY like", "They like tea."),
        (r"likes Club", "tea likes Club they."),
        (r"^Club 4: (.*?\.)", "Club 4 plays chess."),
        (r"plays golf", FAILED),
        (r"born.*founded", FAILED),  # each passage is one line
        (r"(founded", FAILED),
        (r"(?<=by )Person", FAILED),  # RE2 has no look-behind
        (r"(born)\1", FAILED),
        ("", FAILED),
        (r".*", FAILED),
        (r".+", FAILED),
        (r"(?s)(.+)", FAILED),
        (r"[^.]+", FAILED),
        (r"\S+", FAILED),
        (r"(x?)", FAILED),
        ("a" * 10_000, FAILED),
        ("(" * 900, FAILED),
        (r"((a{1,900}){1,900})", FAILED),
        ("born\x00in", FAILED),
        ("\ud800", FAILED),  # half a character, which has no UTF-8
    ],
)
def test_a_search_gives_its_first_match_or_failed(pattern: str, found: str) -> None:
    assert regex_search(pattern, PARAGRAPHS) == found


@pytest.mark.timeout(120)
def test_a_search_with_a_long_result_fails_and_patterns_that_blow_up_backtracking_end() -> None:
    long = ShownParagraph("Long", ("begin " + "a" * 100_000 + " end.",), False)
    assert regex_search(r"begin (.*) end", [long]) == FAILED
    assert regex_search(r"begin (a+)+b", [long]) == FAILED
    assert regex_search(r"(.*)(.*)(.*)(.*)(.*)z[a-y]{50}q", [long]) == FAILED


@given(st.text(st.sampled_from("abPC4 .*+?()[]{}|^$\\\\\n1,-Łé\x00"), max_size=40))
def test_any_pattern_of_a_model_gets_a_result_of_one_short_line(pattern: str) -> None:
    found = regex_search(pattern, PARAGRAPHS)
    assert 0 < len(found) <= LONGEST_RESULT
    assert "\n" not in found


def test_the_searches_of_the_worked_examples_find_their_answers() -> None:
    assert len(exemplars()) == 4
    assert {each.answer for each in exemplars()} >= {"no"}
    for each in exemplars():
        searched = with_results(each.regex, each.paragraphs)
        assert FAILED not in searched
        assert searched.count("[ENDSEARCH] ") == 2
        for worked in (each.cot, searched):
            assert score(extracted_answer(worked), each.answer).exact_match == 1
        assert each.answer == "no" or each.answer in with_results(each.regex, each.paragraphs)


def test_a_prompt_ends_with_the_paragraphs_in_their_order_and_the_question() -> None:
    text = prompt(QUESTION.question, PARAGRAPHS, "cot")
    assert text.count("Question:") == 5
    assert text.endswith(
        "Passages:\n[1] Tea: Tea is a drink. Person 40 likes it.\n[2] Club 4: Club 4 plays chess. It was founded by "
        "Person 4.\n[3] Person 4: Person 4 was born in Town 4. They like tea.\n[4] tea likes Club they.\n\n"
        "Question: Where was the founder of Club 4 born?\nAnswer:"
    )
    assert "[STARTSEARCH]" not in text
    assert prompt(QUESTION.question, PARAGRAPHS, "regex").count("[STARTSEARCH]") == 9


def test_bm25_keeps_the_best_in_the_order_shown() -> None:
    assert bm25_choice("Where was the founder of Club 4 born?", PARAGRAPHS, 2) == (CLUB, PERSON)
    assert bm25_choice("tea drink", PARAGRAPHS, 1) == (OTHER,)
    assert bm25_choice("tea", PARAGRAPHS, 9) == PARAGRAPHS
    for unknown in ("!?", "zebra", ""):
        assert bm25_choice(unknown, PARAGRAPHS, 2) == PARAGRAPHS[:2]
    assert bm25_choice("the of", (FILLER, ShownParagraph("", ("the",), False)), 1) == (FILLER,)


def talk(method: Method, replies: list[Reply | str], config: AskConfig | None = None) -> tuple[list[Request], Answer]:
    """The requests of a dialogue that gets these replies, and the answer."""
    talking: Dialogue = dialogue(SHOWN, method, config or AskConfig())
    requests = [next(talking)]
    for reply in replies:
        if isinstance(reply, str):
            reply = Completion(text=reply, finished=True, prompt_tokens=10, completion_tokens=2)
        try:
            requests.append(talking.send(reply))
        except StopIteration as end:
            return requests, end.value
    raise AssertionError("the dialogue goes on")


def test_searches_are_executed_at_each_stop_and_the_model_continues_from_their_results() -> None:
    replies: list[Reply | str] = [
        "Who founded it?\n[STARTSEARCH] founded by (\\w+ \\d) ",
        "[STARTSEARCH] Person 4 was born in ([^.]+) ",
        "So the answer is: Town 4.",
    ]
    requests, answer = talk("regex", replies)
    assert (answer.predicted, answer.searches, answer.failed_searches) == ("Town 4", 2, 0)
    assert (answer.read, answer.written) == (30, 6)
    assert len({request.prompt for request in requests}) == 1
    assert requests[0].stop[0] == "[ENDSEARCH]"
    assert requests[1].written.endswith("[STARTSEARCH] founded by (\\w+ \\d) [ENDSEARCH] Person 4\n")
    assert requests[2].written.endswith("born in ([^.]+) [ENDSEARCH] Town 4\n")
    assert answer.text.endswith("Town 4\nSo the answer is: Town 4.")


def test_the_number_of_searches_is_limited_and_an_invalid_one_fails() -> None:
    asked: list[Reply | str] = ["[STARTSEARCH] (( "] * 4
    requests, answer = talk("regex", asked, AskConfig(max_searches=3))
    assert [request.written.count(FAILED) for request in requests] == [0, 1, 2, 3]
    assert (answer.predicted, answer.searches, answer.failed_searches) == ("", 3, 3)


def test_a_search_cut_off_by_the_token_limit_is_not_executed() -> None:
    _, answer = talk("regex", [Completion(text="[STARTSEARCH] founded", finished=False)])
    assert (answer.searches, answer.predicted) == (0, "")


@pytest.mark.parametrize("method", ["cot", "regex", "bm25"])
def test_a_question_that_does_not_fit_is_told_apart_from_an_answer_that_grew_too_long(method: Method) -> None:
    _, answer = talk(method, [TooLong("9 of 8")])
    assert (answer.predicted, answer.too_long) == ("", "9 of 8")
    if method == "regex":
        _, answer = talk(method, ["[STARTSEARCH] born ", TooLong("9 of 8")])
        assert (answer.predicted, answer.too_long, answer.searches) == ("", "", 1)


def test_bm25_asks_about_the_paragraphs_that_it_keeps_and_counts_the_gold_ones() -> None:
    requests, answer = talk("bm25", ["So the answer is: Town 4."], AskConfig(top_k=2))
    assert answer.gold_kept == 2
    assert paragraph_text(CLUB) in requests[0].prompt
    assert paragraph_text(OTHER) not in requests[0].prompt
    _, answer = talk("cot", ["nothing"])
    assert (answer.gold_kept, answer.predicted) == (2, "")


def test_the_result_of_a_search_is_not_the_models_answer() -> None:
    paragraph = ShownParagraph("Quiz", ("They say the answer is Paris.",), False)
    talking = dialogue(Shown(QUESTION, (paragraph,)), "regex", AskConfig())
    next(talking)
    talking.send(Completion(text="[STARTSEARCH] (They say.*) ", finished=True, prompt_tokens=1, completion_tokens=1))
    with pytest.raises(StopIteration) as end:
        talking.send(Completion(text="I do not know.", finished=True, prompt_tokens=1, completion_tokens=1))
    assert "the answer is Paris" in end.value.value.text
    assert end.value.value.predicted == ""
