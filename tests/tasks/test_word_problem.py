"""Word problems use tables of groups, products follow them, and every view shows the same words.

Axes: B samples, L positions.
"""

import itertools
import math
from collections import Counter

import numpy as np
import pytest

from retrieval_gap.tasks import plain
from retrieval_gap.tasks.api import TaskConfig, TaskError, answers_of, questions_of
from retrieval_gap.tasks.word_problem import WordProblem, group
from tests.tasks.words import rows

GROUPS = {"Z2": 2, "Z7": 7, "S3": 6, "S4": 24, "S5": 120, "A3": 3, "A4": 12, "A5": 60}


def make(n: int, options: str = "", mode: str = "direct", **settings: object) -> WordProblem:
    return WordProblem(TaskConfig(n=n, mode=mode, options=options, **settings))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", GROUPS)
def test_a_table_is_that_of_a_group_of_the_known_order(name):
    table = group(name).product_GxG
    order = GROUPS[name]
    assert table.shape == (order, order)
    assert len(set(group(name).names)) == order
    everything = np.arange(order)
    assert (table[0] == everything).all()
    assert (table[:, 0] == everything).all()
    assert (np.sort(table, 0) == everything[:, None]).all()  # every element has an inverse
    assert (np.sort(table, 1) == everything).all()
    for a, b, c in np.random.default_rng(0).integers(0, order, (200, 3)):
        assert table[table[a, b], c] == table[a, table[b, c]]


@pytest.mark.parametrize("name", GROUPS)
def test_generators_generate_the_group_and_include_the_neutral_element(name):
    reached, generators = {0}, group(name).generators
    assert 0 in generators
    for _ in range(GROUPS[name]):
        reached |= {int(group(name).product_GxG[a, b]) for a, b in itertools.product(reached, generators)}
    assert len(reached) == GROUPS[name]


def test_products_are_taken_from_left_to_right():
    names, table = group("S3").names, group("S3").product_GxG
    assert names[table[names.index("213"), names.index("132")]] == "312"
    assert names[table[names.index("132"), names.index("213")]] == "231"
    assert group("Z5").product_GxG[3, 4] == 2


@pytest.mark.parametrize(
    ("options", "mode", "target"),
    [
        ("", "direct", "=P"),
        ("", "cot", "p p p p [EOS] =P"),
        ("ask=each", "direct", "=p w =p w =p w =P"),
        ("ask=each", "cot", "=p w =p w =p w =P"),
    ],
)
def test_each_view_has_its_own_target(options, mode, target):
    task = make(4, f"group=S4 {options}", mode)
    batch = task.sample(np.arange(50))
    assert set(batch.length_B) == {task.max_length}
    names, table = group("S4").names, group("S4").product_GxG
    for words, graded in rows(task, batch):
        prompt = int(batch.prompt_len_B[0])
        shape = " ".join(words[prompt:])
        elements = words[1:5] if not options else words[1::2]
        product, products = 0, []
        for element in elements:
            product = int(table[product, names.index(element)])
            products.append(names[product])
        expected, given = iter(products), iter(elements[1:])
        told = []
        for piece in target.split():
            if piece == "=P":
                told.append("=" + products[-1])
            elif piece in ("p", "=p"):
                told.append(piece[:-1] + next(expected))
            else:
                told.append(next(given) if piece == "w" else piece)
        assert shape == " ".join(told)
        assert [words[i] for i in range(len(words)) if not graded[i]][1:] == (
            elements if options else [*elements, "[EOS]"]
        )


def test_every_view_shows_the_same_words_and_answers():
    direct, thinking = make(12, "group=A5"), make(12, "group=A5", "cot")
    shown, thought = direct.sample(np.arange(30)), thinking.sample(np.arange(30))
    assert (shown.tokens_BxL[:, :14] == thought.tokens_BxL[:, :14]).all()
    assert (answers_of(shown, direct) == answers_of(thought, thinking)).all()


def test_with_ask_each_one_element_is_given_before_each_later_answer():
    task = make(6, "ask=each")
    batch = task.sample(np.arange(5))
    assert answers_of(batch, task).shape == (5, 6)
    question_BxQx2 = questions_of(batch, task)
    assert (question_BxQx2[:, 1:, 1] - question_BxQx2[:, 1:, 0] == 1).all()


def test_answers_are_unread_if_they_would_help_with_the_next():
    assert make(6, "ask=each").unread == make(6, "ask=each").answers
    assert make(6, "ask=each", "cot").unread == ()
    assert make(6).unread == ()


@pytest.mark.parametrize(
    ("name", "elements"), [("Z2", "all"), ("S3", "generators"), ("A4", "generators"), ("S3", "all")]
)
@pytest.mark.parametrize("n", [3, 4])
def test_words_by_product_count_all_words(name, elements, n):
    task = make(8, f"group={name} elements={elements}")
    counts = list(itertools.islice(task.words_by_product(), n))[-1]
    table = group(name).product_GxG
    seen = Counter()
    for word in itertools.product(task.alphabet, repeat=n):
        product = 0
        for element in word:
            product = int(table[product, element])
        seen[product] += 1
    assert counts == [seen[k] for k in range(len(table))]


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_words_of_a_split_are_equally_likely_and_splits_are_disjoint(split):
    drawn = {
        s: Counter(
            " ".join(words[1:9])
            for words, _ in rows(make(8, "group=Z2", split=s), make(8, "group=Z2", split=s).sample(np.arange(8000)))
        )
        for s in ("train", "validation", "test")
    }
    others = set().union(*(drawn[s] for s in drawn if s != split))
    assert not set(drawn[split]) & others
    assert len(set().union(*drawn.values())) == 2**8
    expected = 8000 / len(drawn[split])
    chi_square = sum((seen - expected) ** 2 / expected for seen in drawn[split].values())
    assert chi_square < len(drawn[split]) + 4 * math.sqrt(2 * len(drawn[split]))


@pytest.mark.parametrize("options", ["", "group=A4 elements=generators", "group=Z5 ask=each", "group=S5"])
@pytest.mark.parametrize("mode", ["direct", "cot"])
def test_the_plain_definition_draws_answers_by_the_same_law(options, mode):
    task = make(12, options, mode)
    given = dict(word.split("=") for word in options.split())
    random = np.random.default_rng(1)
    theirs = [plain.word_problem(random, 12, mode, **given) for _ in range(4000)]
    ours = list(rows(task, task.sample(np.arange(4000))))
    assert {(len(words), tuple(map(int, graded))) for words, graded in theirs} == {
        (len(words), tuple(graded)) for words, graded in ours
    }
    counts = [Counter(words[-1] for words, _ in drawn) for drawn in (ours, theirs)]
    chi_square = sum((counts[0][k] - counts[1][k]) ** 2 / (counts[0][k] + counts[1][k]) for k in counts[0] | counts[1])
    assert chi_square < len(counts[0]) + 4 * math.sqrt(2 * len(counts[0])) + 9


def test_samples_are_pinned():
    """A change here changes every result: say so in the results."""
    task = make(6)
    words, _ = next(rows(task, task.sample(np.arange(1))))
    assert " ".join(words) == "[BOS] 321 231 132 132 321 123 [EOS] =312"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("group=Q8", r"unknown group 'Q8' \(choose from Z2 to Z120, S3 to S5, A3 to A5\)"),
        ("group=S05", "unknown group 'S05'"),
        ("group=S2", "unknown group 'S2'"),
        ("group=Z1", "unknown group 'Z1'"),
        ("group=S6", "--group S6 has 720 elements, and tables go up to 120"),
        ("group=A6", "--group A6 has 360 elements"),
        ("group=Z121", "--group Z121 has 121 elements"),
        ("group=S999999999", "has more than"),
        ("elements=some", "unknown elements 'some'"),
        ("ask=never", "unknown ask 'never'"),
        ("query=first", "unknown option 'query'"),
    ],
)
def test_a_bad_option_is_refused_in_one_line(options, told):
    with pytest.raises(TaskError, match=told) as refused:
        make(8, options)
    assert "\n" not in str(refused.value)


def test_too_few_words_for_three_splits_and_an_unknown_mode_are_refused():
    with pytest.raises(TaskError, match="raise --length"):
        make(5, "group=Z2")
    with pytest.raises(TaskError, match="unknown mode 'rag'"):
        make(8, mode="rag")
