"""The paragraphs shown do not depend on the file's order, are nested in n, and vary in one thing at a time."""

import json
import random
from collections import Counter
from dataclasses import replace
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval_gap.tasks.api import TaskError
from retrieval_gap.tasks.hotpotqa.audits.lengths import lengths
from retrieval_gap.tasks.hotpotqa.data.records import Paragraph, Question, read_questions
from retrieval_gap.tasks.hotpotqa.data.subsets import (
    Shown,
    ShownParagraph,
    SubsetConfig,
    Subsets,
    shown_tokens,
    whitespace_words,
)
from retrieval_gap.tasks.hotpotqa.worlds.questions import world_question
from retrieval_gap.tasks.hotpotqa.worlds.solver import solve
from tests.tasks.hotpotqa.data import real_file

NUMBERS = range(2, 11)
WORDS = st.text("abcde", min_size=1, max_size=6)
SENTENCES = st.lists(st.lists(WORDS, max_size=8).map(" ".join), max_size=3).map(tuple)


@st.composite
def made_questions(draw: st.DrawFn, paragraphs: int = 10) -> Question:
    """A question with this many paragraphs of any words; some sentences are empty."""
    titles = draw(
        st.lists(
            st.lists(WORDS, min_size=1, max_size=3).map(" ".join), unique=True, min_size=paragraphs, max_size=paragraphs
        )
    )
    context = tuple(Paragraph(title, ("one sentence", *draw(SENTENCES))) for title in titles)
    gold = draw(st.permutations(titles))[:2]
    supporting = tuple((title, 0) for title in gold)
    return Question(draw(WORDS), "who?", "nobody", "bridge", "hard", context, supporting)


@cache
def real_questions() -> tuple[Question, ...]:
    names = ("hard_a_300.jsonl", "hard_b_300.jsonl", "official_schema_100.json")
    return tuple(question for name in names for question in read_questions(real_file(name)).kept)


def shown(question: Question, n: int = 10, order: str = "random", **fields: object) -> Shown:
    return Subsets([question], SubsetConfig(n_paragraphs=n, order=order, **fields)).shown(question)


def gold_places(shown: Shown) -> list[int]:
    return [place for place, paragraph in enumerate(shown.paragraphs) if paragraph.gold]


def words_before_gold_and_behind(shown: Shown) -> list[tuple[int, int]]:
    places = gold_places(shown)
    return [(shown_tokens(shown.paragraphs[:place]), shown_tokens(shown.paragraphs[place + 1 :])) for place in places]


@settings(max_examples=60, deadline=None)
@given(made_questions(), st.integers(0, 2**63 - 1), st.sampled_from(["random", "last", "first"]))
def test_paragraphs_shown_at_n_are_shown_in_the_same_order_at_every_larger_n(
    question: Question, seed: int, order: str
) -> None:
    larger = shown(question, 10, order, seed=seed).paragraphs
    for n in reversed(NUMBERS):
        now = shown(question, n, order, seed=seed).paragraphs
        assert len(now) == n
        assert {p.title for p in now if p.gold} == set(question.gold_titles)
        assert [p for p in larger if p in now] == list(now)
        larger = now


@settings(max_examples=60, deadline=None)
@given(made_questions(), st.randoms(use_true_random=False), st.sampled_from(["plain", "length_matched", "distance"]))
def test_the_order_of_a_records_paragraphs_and_of_a_file_does_not_matter(
    question: Question, chance: random.Random, variant: str
) -> None:
    config = SubsetConfig(n_paragraphs=5, variant=variant)  # type: ignore[arg-type]
    paragraphs = list(question.paragraphs)
    chance.shuffle(paragraphs)
    other = replace(question, id=question.id + "x")
    shuffled = replace(question, paragraphs=tuple(paragraphs))
    expected = Subsets([question, other], config).shown(question)
    assert Subsets([other, shuffled], config).shown(shuffled).paragraphs == expected.paragraphs
    assert Subsets([shuffled], config).shown(shuffled).paragraphs == expected.paragraphs


@settings(max_examples=40, deadline=None)
@given(made_questions(), st.sampled_from(["random", "last", "first", "3,7"]), st.integers(0, 99))
def test_length_matched_keeps_the_length_and_the_place_of_every_gold_word(
    question: Question, order: str, seed: int
) -> None:
    whole = shown(question, 10, order, seed=seed)
    for n in NUMBERS:
        now = shown(question, n, order, seed=seed, variant="length_matched")
        assert sum(bool(paragraph.title) for paragraph in now.paragraphs) == n
        assert shown_tokens(now.paragraphs) == shown_tokens(whole.paragraphs)
        assert gold_places(now) == gold_places(whole)
        assert words_before_gold_and_behind(now) == words_before_gold_and_behind(whole)
        for before, after in zip(whole.paragraphs, now.paragraphs, strict=True):
            if after.title:
                assert after == before
            else:
                words = " ".join((before.title, *before.sentences)).split()
                assert sorted(" ".join(after.sentences).split()) == sorted(words)


@settings(max_examples=40, deadline=None)
@given(made_questions(), st.sampled_from(["random", "last", "first"]), st.integers(0, 99))
def test_distance_moves_the_gold_paragraphs_alone_to_their_distance_from_the_end_in_plain(
    question: Question, order: str, seed: int
) -> None:
    others = [p for p in shown(question, 10, order, seed=seed).paragraphs if not p.gold]
    for n in NUMBERS:
        now = shown(question, n, order, seed=seed, variant="distance")
        assert [p for p in now.paragraphs if not p.gold] == others
        plain = shown(question, n, order, seed=seed)
        assert [10 - place for place in gold_places(now)] == [n - place for place in gold_places(plain)]
    assert now == plain


def test_a_layout_is_pinned() -> None:
    """It may change only with a new data format: results of other machines and days are about the same paragraphs."""

    def titles(variant: str) -> list[str]:
        return [p.title for p in shown(world_question(0, "train", 0), 4, variant=variant).paragraphs]

    one, other = "Dumont family", "Beacon Press"
    assert titles("plain") == [one, "Badger Club", "Jupiter Press", other]
    assert titles("length_matched") == [one, "", "", "Badger Club", "", "Jupiter Press", other, "", "", ""]
    behind = ["Jaguar Club", "Elvony", "Badger Club", "Horizon Studio", "Jupiter Press", "Heron Club"]
    assert titles("distance") == [*behind, one, "Parker family", "Hale family", other]


def test_gold_paragraphs_are_where_the_order_puts_them() -> None:
    question = world_question(0, "train", 0)
    assert gold_places(shown(question, 6, "last")) == [4, 5]
    assert gold_places(shown(question, 6, "first")) == [0, 1]
    assert gold_places(shown(question, 6, "2,5")) == [1, 4]
    assert gold_places(shown(question, 6, "3,7", variant="length_matched")) == [2, 6]
    assert gold_places(shown(question, 6, "first", variant="distance")) == [4, 5]
    assert gold_places(shown(question, 6, "1,6", variant="distance")) == [4, 9]


@pytest.mark.parametrize("n", [2, 4, 10])
def test_in_random_order_all_pairs_of_places_and_both_orders_of_gold_are_equally_likely(n: int) -> None:
    counts: Counter[tuple[int, ...]] = Counter()
    first: Counter[bool] = Counter()
    drawn = 2000
    base = world_question(0, "train", 0)
    for number in range(drawn):
        question = replace(base, id=str(number))
        now = shown(question, n)
        counts[tuple(gold_places(now))] += 1
        first[now.paragraphs[gold_places(now)[0]].title == question.gold_titles[0]] += 1
    pairs = n * (n - 1) // 2
    expected = drawn / pairs
    assert len(counts) == pairs
    assert sum((count - expected) ** 2 / expected for count in counts.values()) < pairs - 1 + 4 * (2 * pairs) ** 0.5
    assert abs(first[True] - drawn / 2) < 4 * (drawn / 4) ** 0.5


def test_all_distractors_are_kept_equally_often() -> None:
    base = world_question(0, "train", 0)
    kept = Counter(p.title for i in range(2000) for p in shown(replace(base, id=str(i)), 4).paragraphs if not p.gold)
    assert len(kept) == 8
    assert all(abs(count - 500) < 4 * (2000 * 0.25 * 0.75) ** 0.5 for count in kept.values())


def test_another_seed_shows_other_paragraphs_in_another_order() -> None:
    question = world_question(0, "train", 0)
    assert len({tuple(p.title for p in shown(question, 6, seed=seed).paragraphs) for seed in range(20)}) > 15


@pytest.mark.parametrize("letters", [4, 7])
def test_length_can_be_matched_in_other_tokens(letters: int) -> None:
    """Words are cut into pieces of `letters` letters, so that shuffling them changes only the end of a sentence."""

    def pieces(text: str) -> int:
        return sum(-(-len(word) // letters) for word in text.split()) + bool(text)

    question = world_question(0, "train", 1)
    config = SubsetConfig(n_paragraphs=2, variant="length_matched")
    now = Subsets([question], config, pieces).shown(question)
    whole = Subsets([question], SubsetConfig(), pieces).shown(question)
    for before, after in zip(whole.paragraphs, now.paragraphs, strict=True):
        assert 0 <= shown_tokens([before], pieces) - shown_tokens([after], pieces) < 1 + 24 / letters


def test_filler_of_real_text_can_match_a_number_of_characters() -> None:
    question = real_questions()[0]
    config = SubsetConfig(n_paragraphs=2, variant="length_matched")
    now = Subsets([question], config, len).shown(question)
    whole = Subsets([question], SubsetConfig()).shown(question)
    for before, after in zip(whole.paragraphs, now.paragraphs, strict=True):
        assert 0 <= shown_tokens([before], len) - shown_tokens([after], len) < 60


def test_real_questions_keep_every_rule() -> None:
    questions = real_questions()
    for variant in ("plain", "length_matched", "distance"):
        subsets = Subsets(questions, SubsetConfig(n_paragraphs=4, variant=variant))  # type: ignore[arg-type]
        assert len(subsets.questions) + len(subsets.left_out) == len(questions)
        needed = 4 if variant == "plain" else 10
        assert {q.id for q in questions if len(q.paragraphs) < needed} == {left.id for left in subsets.left_out}
        for question in subsets.questions:
            now = subsets.shown(question).paragraphs
            assert sum(paragraph.gold for paragraph in now) == 2
            if variant != "plain":
                assert shown_tokens(now) == shown_tokens(shown(question, 10).paragraphs)


def test_distractors_from_other_questions_do_not_name_the_gold_paragraphs() -> None:
    questions = real_questions()
    subsets = Subsets(questions, SubsetConfig(distractors="other"))
    for question in questions[::7]:
        now = subsets.shown(question)
        own = {paragraph.title for paragraph in question.paragraphs}
        others = [paragraph for paragraph in now.paragraphs if not paragraph.gold]
        assert len({paragraph.title for paragraph in others}) == 8
        for paragraph in others:
            text = f" {' '.join((paragraph.title, *paragraph.sentences))} "
            assert paragraph.title not in own
            assert all(f" {title} " not in text for title in question.gold_titles)


def test_distractors_from_other_worlds_do_not_change_the_answer() -> None:
    pool = [world_question(0, "test", index) for index in range(100)]
    subsets = Subsets(pool, SubsetConfig(distractors="other"))
    for index in range(300):
        question = world_question(1, "test", index)
        assert solve(question.question, subsets.shown(question).paragraphs) == question.answer


def test_more_questions_change_the_distractors_drawn_from_them_as_little_as_possible() -> None:
    questions = real_questions()
    question = questions[0]
    few, many = (
        Subsets(pool, SubsetConfig(distractors="other")).shown(question).paragraphs
        for pool in (questions[:350], questions[:349:-1] + questions[:350])
    )
    fresh = {p.title for q in questions[350:] for p in q.paragraphs} - {
        p.title for q in questions[:350] for p in q.paragraphs
    }
    assert {p.title for p in many} - {p.title for p in few} <= fresh
    assert [p for p in few if p in many] == [p for p in many if p in few]
    assert 2 <= sum(p in many for p in few) < 10


def test_a_question_with_too_few_paragraphs_is_left_out_and_named() -> None:
    question = world_question(0, "train", 0)
    short = replace(
        question, id="short", paragraphs=tuple(p for p in question.paragraphs if p.title in question.gold_titles)
    )
    subsets = Subsets([short, question], SubsetConfig(n_paragraphs=3))
    assert subsets.questions == (question,)
    assert [(left.id, left.reason) for left in subsets.left_out] == [("short", "it has 2 paragraphs, 3 are needed")]
    with pytest.raises(TaskError, match="question short: it has 2 paragraphs, 3 are needed"):
        subsets.shown(short)
    assert len(shown(short, 2).paragraphs) == 2


def test_a_pool_with_too_few_paragraphs_is_an_error() -> None:
    question = world_question(0, "train", 0)
    with pytest.raises(TaskError, match=r"0 paragraphs of other questions do not name .*, 8 are needed; lower"):
        shown(question, 10, distractors="other")


def test_no_more_distractors_are_drawn_from_other_questions_than_are_shown() -> None:
    pool = [world_question(0, "test", index) for index in range(30)]
    question, few = pool[0], [pool[0], replace(pool[1], paragraphs=pool[1].paragraphs[:3])]
    whole = Subsets(pool, SubsetConfig(distractors="other")).shown(question).paragraphs
    for n in NUMBERS:
        now = Subsets(pool, SubsetConfig(n_paragraphs=n, distractors="other")).shown(question).paragraphs
        assert len(now) == n
        assert [paragraph for paragraph in whole if paragraph in now] == list(now)
    assert len(shown(question, 2, distractors="other").paragraphs) == 2
    assert len(Subsets(few, SubsetConfig(n_paragraphs=4, distractors="other")).shown(question).paragraphs) == 4


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"n_paragraphs": 1}, "--n-paragraphs 1 is outside 2..10"),
        ({"n_paragraphs": 11}, "--n-paragraphs 11 is outside 2..10"),
        ({"order": "middle"}, "--order 'middle' is none of random, last, first"),
        ({"order": "3,7", "n_paragraphs": 6}, "two rising places in 1..6"),
        ({"order": "3,3"}, "two rising places"),
        ({"order": "0,3"}, "two rising places"),
        ({"order": "1,2,3"}, "--order '1,2,3' is none of"),
        ({"order": "0003,07"}, "--order '0003,07' is none of"),
        ({"order": "\u0663,\u0667"}, "is none of"),
        ({"distractors": "mine"}, "unknown --distractors 'mine'"),
        ({"variant": "matched"}, "unknown --variant 'matched'"),
    ],
)
def test_a_wrong_configuration_names_its_flag(fields: dict, told: str) -> None:
    with pytest.raises(TaskError) as caught:
        SubsetConfig(**fields)
    assert told in str(caught.value)


def test_a_printed_question_has_its_id_text_answer_and_paragraphs() -> None:
    question = world_question(0, "train", 0)
    row = json.loads(json.dumps(shown(question, 4).as_json()))
    assert list(row) == ["id", "question", "answer", "paragraphs"]
    assert [list(paragraph) for paragraph in row["paragraphs"]] == [["title", "sentences", "gold"]] * 4
    assert row["paragraphs"] == [
        {"title": p.title, "sentences": list(p.sentences), "gold": p.gold} for p in shown(question, 4).paragraphs
    ]


def test_tokens_are_the_words_of_titles_and_sentences_between_white_space() -> None:
    assert whitespace_words("Ann Lee's  club.") == 3
    assert (
        shown_tokens([ShownParagraph("Red Club", ("It is old.", ""), True), ShownParagraph("", ("a b",), False)]) == 7
    )


def test_one_thing_varies_at_a_time() -> None:
    questions = [world_question(0, "test", index) for index in range(100)]

    def told(variant: str) -> tuple[tuple[float, ...], ...]:
        configs = [SubsetConfig(n_paragraphs=n, variant=variant) for n in (2, 6, 10)]  # type: ignore[arg-type]
        candidates, words, behind = zip(*(lengths(questions, config) for config in configs), strict=True)
        return candidates, words, behind

    plain, matched, distance = told("plain"), told("length_matched"), told("distance")
    assert all(numbers[0] < numbers[1] < numbers[2] for numbers in (*plain, matched[0], distance[2]))
    assert all(len(set(numbers)) == 1 for numbers in (*matched[1:], *distance[:2]))
    assert [numbers[2] for numbers in plain] == [numbers[2] for numbers in matched] == [n[2] for n in distance]
