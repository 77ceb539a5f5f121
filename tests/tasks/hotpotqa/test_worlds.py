"""In small worlds an oracle that reads the sentences finds every answer in the two gold paragraphs and not in one of
them, and no name, place or kind gives more of the answer away than it should."""

import json
import re
from collections import Counter
from dataclasses import asdict
from pathlib import Path

import pytest

from retrieval_gap.tasks.api import TaskError
from retrieval_gap.tasks.hotpotqa.data.records import Paragraph, Question, read_questions
from retrieval_gap.tasks.hotpotqa.worlds.questions import WorldConfig, world_question
from retrieval_gap.tasks.hotpotqa.worlds.solver import solve
from retrieval_gap.tasks.hotpotqa.worlds.words import (
    FIRST_BORN,
    FIRST_OUT,
    NAMES,
    QUESTIONS,
    SENTENCES,
    TITLES,
    WORKS,
    YEARS,
    words_of,
)
from retrieval_gap.tasks.randomness import SPLITS


@pytest.fixture(scope="module")
def questions() -> list[Question]:
    return [world_question(3, "test", index) for index in range(2000)]


def gold(question: Question) -> list[Paragraph]:
    by_title = {paragraph.title: paragraph for paragraph in question.paragraphs}
    return [by_title[title] for title in question.gold_titles]


def test_the_answer_follows_from_the_two_gold_paragraphs_and_from_all_ten(questions: list[Question]) -> None:
    for question in questions:
        assert solve(question.question, gold(question)) == question.answer
        assert solve(question.question, question.paragraphs) == question.answer


def test_no_answer_follows_without_both_gold_paragraphs(questions: list[Question]) -> None:
    for question in questions:
        for title in question.gold_titles:
            without = [paragraph for paragraph in question.paragraphs if paragraph.title != title]
            assert solve(question.question, without) is None


def test_the_answer_follows_from_the_supporting_sentences_alone(questions: list[Question]) -> None:
    for question in questions:
        by_title = {paragraph.title: paragraph for paragraph in question.paragraphs}
        told = [Paragraph(title, (by_title[title].sentences[number],)) for title, number in question.supporting]
        assert solve(question.question, told) == question.answer


@pytest.mark.parametrize("config", [WorldConfig(facts=2, names=3), WorldConfig(facts=6, names=6)])
def test_worlds_of_other_sizes_are_sound_too(config: WorldConfig) -> None:
    for index in range(300):
        question = world_question(0, "train", index, config)
        assert [len(paragraph.sentences) for paragraph in question.paragraphs] == [config.facts] * 10
        assert solve(question.question, gold(question)) == question.answer
        assert [solve(question.question, [paragraph]) for paragraph in gold(question)] == [None, None]


def every_word() -> set[str]:
    """Every word that a world can hold."""
    wordings = " ".join(text for group in (TITLES, *SENTENCES, *QUESTIONS) for text in group)
    words = {*words_of(re.sub(r"\{\w+\}", " ", wordings)), "yes", "no"}
    words |= {name for group in NAMES for name in group} | {word for work in WORKS for word in work.values()}
    return words | {str(first + year) for first in (FIRST_BORN, FIRST_OUT) for year in range(YEARS)}


def test_a_world_has_ten_short_paragraphs_from_a_few_hundred_words(questions: list[Question]) -> None:
    known = every_word()
    assert 300 <= len(known) <= 400
    met = set()
    for question in questions:
        assert len({paragraph.title for paragraph in question.paragraphs}) == 10
        sentences = [sentence for paragraph in question.paragraphs for sentence in paragraph.sentences]
        assert all(9 <= len(words_of(sentence)) <= 13 for sentence in sentences)
        assert len(words_of(question.answer)) == 1
        titles = [paragraph.title for paragraph in question.paragraphs]
        met.update(words_of(" ".join([*titles, *sentences, question.question, question.answer])))
    assert met == known


def test_a_name_names_one_thing() -> None:
    names = [name for group in NAMES for name in group]
    assert len(set(names)) == len(names)


def test_no_name_of_the_asked_kind_is_more_frequent_than_another(questions: list[Question]) -> None:
    """A gold paragraph that names first names, towns, rivers or professions names three of them, each once."""
    for question in questions[:500]:
        for group in (NAMES[0], NAMES[2], NAMES[3], NAMES[4]):
            named = [
                Counter(word for s in p.sentences for word in words_of(s) if word in group) for p in gold(question)
            ]
            for counts in named:
                assert len(counts) in (0, 3)
                assert set(counts.values()) <= {1}


def test_a_name_in_both_gold_paragraphs_tells_nothing(questions: list[Question]) -> None:
    for question in questions:
        if question.kind == "bridge":
            one, other = ({word for s in p.sentences for word in words_of(s)} for p in gold(question))
            shared = [one & other & set(group) for group in (NAMES[0], NAMES[2])]
            assert max(map(len, shared)) == 3


def test_kinds_and_answers_have_the_shares_they_should(questions: list[Question]) -> None:
    kinds = Counter(question.kind for question in questions)
    assert 0.72 < kinds["bridge"] / len(questions) < 0.78
    yes_or_no = Counter(question.answer for question in questions if question.answer in ("yes", "no"))
    assert 0.44 < yes_or_no["yes"] / sum(yes_or_no.values()) < 0.56
    places = Counter(place for q in questions for place, p in enumerate(q.paragraphs) if p.title in q.gold_titles)
    assert all(0.17 < places[place] / len(questions) < 0.23 for place in range(10))


def test_the_place_of_one_supporting_sentence_does_not_tell_that_of_the_other(questions: list[Question]) -> None:
    places = Counter(tuple(number for _, number in question.supporting) for question in questions)
    expected = len(questions) / 9
    assert sum((places[i, j] - expected) ** 2 / expected for i in range(3) for j in range(3)) < 26.1  # p = 0.001


def facts_of(question: Question) -> frozenset[str]:
    """What decides the split, read from the text: the names and years in each gold sentence."""
    names = {name for group in NAMES for name in group}
    return frozenset(
        f"{paragraph.title}: {' '.join(sorted(w for w in words_of(sentence) if w in names or w.isdigit()))}"
        for paragraph in gold(question)
        for sentence in paragraph.sentences
    )


def test_no_two_splits_share_the_facts_of_two_gold_paragraphs() -> None:
    """Facts are so few that two halves of one split share some; two splits, with four times the pairs, would too."""
    config = WorldConfig(facts=2, names=3)
    drawn = {split: [facts_of(world_question(0, split, i, config)) for i in range(2000)] for split in SPLITS}
    seen = {split: set(facts) for split, facts in drawn.items()}
    first_half = set(drawn["train"][:1000])
    again = sum(facts in first_half for facts in drawn["train"][1000:])
    assert again >= 5, "facts are too many for this test to see anything"
    assert not seen["train"] & seen["test"]
    assert not seen["train"] & seen["validation"]
    assert not seen["validation"] & seen["test"]


def test_a_question_is_a_function_of_seed_split_and_number() -> None:
    numbers = [5, 0, 3, 2**62]
    drawn = [world_question(1, "train", number) for number in numbers]
    assert drawn == [world_question(1, "train", number) for number in reversed(numbers)][::-1]
    others = [world_question(2, "train", 5), world_question(1, "test", 5), world_question(1, "train", 6)]
    others.append(world_question(1, "train", 5, WorldConfig(names=12)))
    assert len({question.paragraphs for question in [*drawn, *others]}) == 8
    assert len({question.id for question in [*drawn, *others]}) == 8


def test_a_world_is_pinned() -> None:
    """It may change only with a new data format: results of other machines and days are about the same questions."""
    question = world_question(0, "train", 0)
    assert question.question == "Where was the person born who wrote Crimson Journey?"
    assert question.answer == "Norby"
    assert question.supporting == (("Beacon Press", 1), ("Dumont family", 1))
    assert question.paragraphs[0] == Paragraph(
        "Jupiter Press",
        (
            "Peter Parker wrote the novel Paper Bridge in 1964.",
            "In 1984 Frank Parker wrote the novel Silver Bridge.",
            "Jacob Parker wrote the novel Crimson Bridge in 1969.",
        ),
    )


def test_worlds_pass_the_checks_of_public_files(tmp_path: Path) -> None:
    rows = []
    for index in range(5):
        row = asdict(world_question(0, "train", index))
        context = [[paragraph["title"], list(paragraph["sentences"])] for paragraph in row["paragraphs"]]
        rows.append({"_id": row["id"], "type": row["kind"], "context": context, "supporting_facts": row["supporting"]})
        rows[-1] |= {field: row[field] for field in ("question", "answer", "level")}
    (tmp_path / "worlds.json").write_text(json.dumps(rows))
    assert read_questions(tmp_path / "worlds.json").kept == tuple(world_question(0, "train", i) for i in range(5))


@pytest.mark.parametrize("wrong", [{"seed": -1}, {"split": "dev"}, {"index": -1}])
def test_an_impossible_seed_split_or_number_is_refused(wrong: dict) -> None:
    with pytest.raises(TaskError, match="no question"):
        world_question(**({"seed": 0, "split": "train", "index": 0} | wrong))


@pytest.mark.parametrize("wrong", [{"facts": 1}, {"facts": 7}, {"names": 2}, {"names": 25}])
def test_a_size_outside_its_range_is_refused(wrong: dict) -> None:
    with pytest.raises(TaskError, match=rf"--{next(iter(wrong))} {next(iter(wrong.values()))} is outside"):
        WorldConfig(**wrong)
