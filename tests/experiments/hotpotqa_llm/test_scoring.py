"""Answers are found in texts, and scored as in the official evaluation."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from retrieval_gap.experiments.hotpotqa_llm.scoring import extracted_answer, normalised, score


@pytest.mark.parametrize(
    ("predicted", "gold", "exact", "f1"),
    [
        ("The Beatles!", "beatles", 1, 1),
        ("an apple, a day", "apple day", 1, 1),
        ("U.S.", "US", 1, 1),
        ("October 1922", "22 October 1922", 0, 0.8),  # 2 of 2 words, and 2 of 3
        ("The", "the", 1, 0),  # only an article: right as it is written, and no word to share
        ("the the the", "The", 0, 0),
        ("the who", "Who", 1, 1),
        ("York York", "New York", 0, 0.5),  # a word is shared as often as it is in both
        ("yes", "Yes.", 1, 1),
        ("yes", "no", 0, 0),
        ("yes they do", "yes", 0, 0),  # no half credit for a closed answer
        ("no", "no man's land", 0, 0),
        ("noanswer", "noanswer", 1, 1),
        ("", "Paris", 0, 0),
        ("Paris", "London", 0, 0),
        ("Łódź", "łódź", 1, 1),
        ("well-known", "wellknown", 1, 1),
        ("“Paris”", "Paris", 1, 1),
        ("well\u2011known", "well-known", 1, 1),
        ("«Paris»", "Paris", 0, 0),  # other punctuation stays, as in the official script
    ],
)
def test_known_cases_of_the_official_scores(predicted: str, gold: str, exact: float, f1: float) -> None:
    scored = score(predicted, gold)
    assert (scored.exact_match, scored.f1) == (exact, pytest.approx(f1))


@given(st.text(), st.text())
def test_scores_lie_in_0_to_1_are_symmetric_and_unchanged_by_normalising_twice(predicted: str, gold: str) -> None:
    assume(normalised(predicted) or normalised(gold))
    scored = score(predicted, gold)
    assert 0 <= scored.f1 <= 1
    assert scored == score(gold, predicted)
    assert scored == score(normalised(predicted), gold)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("A is in B. So the answer is: B.", "B"),
        ("So the answer is: Washington, D.C.\nPassages: more", "Washington, D.C"),
        ("The answer is 3. No. So THE ANSWER IS: 4", "4"),
        ('So the answer is: **"Rio"**.', "Rio"),
        ("I do not know.", ""),
        ("So the answer is:", ""),
        ("So the answer is:\nB", "B"),
        ("İİİ so the answer is: B", "B"),
        ("So the answer\nis: B", "B"),
        ("So the answer is: “Rio”.", "Rio"),
        ("So the answer is: B\r\nPassages: more", "B"),
        (r"So the answer is: $\boxed{Rio}$.", "Rio"),
        (r"So the answer is \boxed{\text{Rio {de} Janeiro}}", "Rio {de} Janeiro"),
        (r"Both are in \boxed{Asia}, so \boxed{yes}.", "yes"),
        (r"So it is \boxed{Rio", ""),
    ],
)
def test_the_answer_comes_after_the_last_mark(text: str, answer: str) -> None:
    assert extracted_answer(text) == answer


@pytest.mark.parametrize("gold", ["A", "The The", "an", "!"])
def test_an_empty_prediction_is_wrong_even_if_the_answer_normalises_to_nothing(gold: str) -> None:
    for empty in ("", "  ", "the the the", "?"):
        assert score(empty, gold).exact_match == 0
    assert score(gold, gold).exact_match == 1
