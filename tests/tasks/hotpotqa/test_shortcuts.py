"""A shortcut, whatever it reads of a question and its paragraphs, is right about as often as a guess."""

import pytest

from retrieval_gap.tasks.hotpotqa.audits.shortcuts import SEEN, accuracy
from retrieval_gap.tasks.hotpotqa.data.records import Question
from retrieval_gap.tasks.hotpotqa.worlds.questions import world_question

# Candidates: 16 to 40 names or years without the second gold paragraph, 3 with it; yes and no; two if the older of two
# is asked for.  The 0.06 added are three standard errors of 600 answers, and the few that years tell.
CHANCE = {"the question": 0.05, "the question, the first gold paragraph": 0.05}


@pytest.fixture(scope="module")
def drawn() -> tuple[list[Question], list[Question]]:
    return [world_question(0, "train", i) for i in range(3000)], [world_question(0, "test", i) for i in range(800)]


@pytest.mark.parametrize("name", SEEN)
def test_bridges_are_guessed_no_better_than_one_candidate_in_three(
    drawn: tuple[list[Question], list[Question]], name: str
) -> None:
    bridges = [[question for question in questions if question.kind == "bridge"] for questions in drawn]
    assert accuracy(SEEN[name], *bridges)["bridge"] < CHANCE.get(name, 1 / 3) + 0.06


@pytest.mark.parametrize("name", SEEN)
def test_comparisons_are_guessed_no_better_than_a_coin(drawn: tuple[list[Question], list[Question]], name: str) -> None:
    compared = [[question for question in questions if question.kind == "comparison"] for questions in drawn]
    shares = accuracy(SEEN[name], *compared)
    assert shares["yes or no"] < 0.5 + 0.15  # 150 answers
    assert shares["older"] < 0.5 + 0.2  # 50 answers
