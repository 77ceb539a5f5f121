"""Samples follow their task's documented law: uniform where it is uniform, and MQAR as Zoology's definition draws it.

`tasks/plain.py` has the definitions again, plainly; the two are compared by chi-square, whose chance of a false alarm
is about one in 10^4 (and the seeds are fixed).
"""

import itertools
import math
from collections import Counter
from collections.abc import Callable, Hashable, Iterable
from functools import cache

import numpy as np
import pytest

from retrieval_gap.tasks import plain
from retrieval_gap.tasks.api import TaskConfig
from retrieval_gap.tasks.last_write import LastWrite, share_of_most_frequent
from retrieval_gap.tasks.registry import load_task
from tests.tasks.words import rows

SPLITS = ("train", "validation", "test")
Words = list[str]


def samples(name: str, n: int, options: str, count: int, split: str = "train", **settings: object) -> list[Words]:
    task = load_task(name)(TaskConfig(n=n, options=options, split=split, **settings))  # type: ignore[arg-type]
    return [words for words, _ in rows(task, task.sample(np.arange(count)))]


def plain_samples(name: str, n: int, count: int, **options: object) -> list[Words]:
    random = np.random.default_rng(1)
    return [plain.SAMPLERS[name](random, n, "direct", **options)[0] for _ in range(count)]


def assert_equally_likely(drawn: Iterable[Hashable], kinds: int) -> None:
    counts = Counter(drawn)
    expected = sum(counts.values()) / kinds
    chi_square = sum((seen - expected) ** 2 / expected for seen in counts.values()) + (kinds - len(counts)) * expected
    assert len(counts) <= kinds
    assert chi_square < kinds - 1 + 3.7 * math.sqrt(2 * (kinds - 1)) + 9


def assert_same_law(ours: Iterable[Hashable], theirs: Iterable[Hashable]) -> None:
    """Compares two samples of about equal size; kinds that are rare in both are pooled."""
    counts = Counter(ours), Counter(theirs)
    kinds = sorted(set(counts[0]) | set(counts[1]), key=str)
    table_2xK = np.array([[count[kind] for kind in kinds] for count in counts], float)
    common_K = table_2xK.sum(0) >= 40
    table_2xK = np.hstack([table_2xK[:, common_K], table_2xK[:, ~common_K].sum(1, keepdims=True)])
    table_2xK = table_2xK[:, table_2xK.sum(0) > 0]
    expected_2xK = table_2xK.sum(1, keepdims=True) * table_2xK.sum(0) / table_2xK.sum()
    chi_square, degrees = ((table_2xK - expected_2xK) ** 2 / expected_2xK).sum(), table_2xK.shape[1] - 1
    assert degrees > 0
    assert chi_square < degrees + 3.7 * math.sqrt(2 * degrees) + 9


# A split has the sequences that it owns, in every order of their pairs if they have one, with every question.
UNIFORM = [
    ("index", 6, "values=2", {"values": 2}, {}, 6),
    ("associative_recall", 6, "values=4", {"values": 4}, {}, 3),
    ("associative_recall", 6, "values=4", {"values": 4, "shuffled": True}, {"family": "shuffled"}, 3 * 6),
    ("cgram_retrieval", 10, "c=3 values=4", {"c": 3, "values": 4}, {}, 3 * 6),
    ("copy", 6, "values=2", {"values": 2}, {}, 1),
]


@pytest.mark.parametrize(("name", "n", "options", "given", "settings", "questions"), UNIFORM)
@pytest.mark.parametrize("split", SPLITS)
def test_every_problem_of_a_split_is_equally_likely(name, n, options, given, settings, questions, split):
    drawn = [tuple(words) for words in samples(name, n, options, 20_000, split, **settings)]
    owned = len(set(drawn)) // questions  # sequences
    assert_equally_likely(drawn, owned * questions)


@pytest.mark.parametrize(("name", "n", "options", "given", "settings", "questions"), UNIFORM)
def test_the_plain_definition_has_the_same_problems_and_all_are_equally_likely(
    name, n, options, given, settings, questions
):
    drawn = [tuple(words) for words in plain_samples(name, n, 20_000, **given)]
    assert_equally_likely(drawn, 64 * questions)
    ours = {tuple(words) for split in SPLITS for words in samples(name, n, options, 20_000, split, **settings)}
    assert ours == set(drawn)


STATISTICS: dict[str, Callable[[Words], Hashable]] = {
    "word_at_5": lambda words: words[5],
    "question": lambda words: tuple(words[26:28]),
    "answer_and_threshold": lambda words: (words[-1], words[-2]),
    "fillers": lambda words: words.count("_"),
    "place_of_a": lambda words: words.index("a") if "a" in words[:25] else 0,
}


@pytest.mark.parametrize("statistic", STATISTICS)
@pytest.mark.parametrize("most", [1, 3])
def test_counting_is_drawn_as_it_is_defined(statistic, most):
    ours = samples("counting", 24, f"most={most}", 8000)
    theirs = plain_samples("counting", 24, 8000, most=most)
    assert_same_law(map(STATISTICS[statistic], ours), map(STATISTICS[statistic], theirs))


@pytest.mark.parametrize("most", [1, 2, 5])
def test_the_question_alone_allows_the_documented_accuracy(most):
    drawn = samples("counting", 40, f"most={most}", 20_000)
    yes = Counter(int(words[-2]) for words in drawn if words[-1] == "[TRUE]")
    asked = Counter(int(words[-2]) for words in drawn)
    best = sum(max(yes[k], asked[k] - yes[k]) for k in range(most)) / len(drawn)
    assert best == pytest.approx(sum(max(most - k, k + 1) for k in range(most)) / most / (most + 1), abs=0.014)
    assert yes.total() / len(drawn) == pytest.approx(0.5, abs=0.014)


N, PAIRS, VOCAB = 64, 6, 256
SLOTS = N // 2 - PAIRS


def pairs_of(words: Words, pairs: int = PAIRS) -> list[tuple[int, int]]:
    numbers = list(map(int, words[1 : 1 + 2 * pairs]))
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def slots_of(words: Words, pairs: int = PAIRS) -> list[int]:
    """The slot in which each key is asked for, in the order of the pairs; fillers are word 0."""
    slots = words[1 + 2 * pairs :: 2]
    return [slots.index(str(key)) for key, _ in pairs_of(words, pairs)]


@cache
def zoology(power: float, count: int) -> tuple[list[Words], list[Words]]:
    options = f"pairs={PAIRS} vocab={VOCAB} power={power}"
    given = {"pairs": PAIRS, "vocab": VOCAB, "power": power, "random_filler": False}
    return samples("mqar", N, options, count, family="zero_filler"), plain_samples("mqar", N, count, **given)


@pytest.mark.parametrize(("draws", "values"), [(1, 5), (2, 4), (5, 2), (7, 3), (5, 5), (4, 8)])
def test_the_share_of_the_most_frequent_draw_matches_a_count_of_all_rows(draws: int, values: int) -> None:
    largest = [max(Counter(row).values()) for row in itertools.product(range(values), repeat=draws)]
    for most in (draws, draws + 7):
        assert share_of_most_frequent(most, values)[draws - 1] == pytest.approx(np.mean(largest) / draws, abs=1e-9)


def test_the_share_of_the_most_frequent_draw_falls_towards_that_of_one_value() -> None:
    share_W = share_of_most_frequent(600, 512)
    assert (np.diff(share_W) < 0).all()
    assert 1 / 512 < share_W[-1] < 0.02


@pytest.mark.parametrize(("n", "options"), [(16, "variables=4 values=4"), (64, "variables=4 values=4"), (64, "")])
def test_naming_the_value_given_most_often_has_the_accuracy_without_order(n: int, options: str) -> None:
    """No reader that ignores order does better.  Ties go to the value whose spelling comes first."""
    right, drawn = 0, samples("last_write", n, options, 20_000, "test")
    for words in drawn:
        asked, gold = words[n + 2], words[-1]
        given = Counter(words[place + 1] for place in range(1, n, 2) if words[place] == asked)
        right += min(given, key=lambda value: (-given[value], value)) == gold
    task = load_task("last_write")(TaskConfig(n=n, options=options, split="test"))
    assert isinstance(task, LastWrite)
    error = math.sqrt(0.25 / len(drawn))
    assert right / len(drawn) == pytest.approx(task.accuracy_without_order, abs=4 * error)


@pytest.mark.parametrize("power", [0.01, 0.3, 1.0])
def test_the_gap_of_the_first_pair_follows_the_power_law(power):
    ours = samples("mqar", N, f"pairs={PAIRS} vocab={VOCAB} power={power}", 20_000, family="zero_filler")
    seen = np.bincount([slots_of(words)[0] for words in ours], minlength=SLOTS)
    chance = power * np.arange(1, SLOTS + 1) ** (power - 1)
    expected = len(ours) * chance / chance.sum()
    assert ((seen - expected) ** 2 / expected).sum() < SLOTS - 1 + 3.7 * math.sqrt(2 * (SLOTS - 1)) + 9


@pytest.mark.parametrize("power", [0.01, 1.0])
@pytest.mark.parametrize("pair", range(PAIRS))
def test_the_gaps_of_every_pair_are_those_of_zoologys_definition(power, pair):
    ours, theirs = zoology(power, 6000)
    assert_same_law((slots_of(words)[pair] for words in ours), (slots_of(words)[pair] for words in theirs))


def test_the_gaps_of_two_pairs_together_and_the_length_are_those_of_zoologys_definition():
    ours, theirs = zoology(0.01, 6000)
    assert_same_law((tuple(slots_of(words)[:2]) for words in ours), (tuple(slots_of(words)[:2]) for words in theirs))
    assert_same_law(map(len, ours), map(len, theirs))


def test_keys_and_values_are_different_and_uniform_over_their_halves():
    ours, theirs = zoology(0.01, 6000)
    for drawn in (ours, theirs):
        pairs = [pairs_of(words) for words in drawn]
        assert all(len({key for key, _ in of}) == len({value for _, value in of}) == PAIRS for of in pairs)
        for place in (0, PAIRS - 1):
            assert_equally_likely((of[place][0] for of in pairs), VOCAB // 2 - 1)
            assert_equally_likely((of[place][1] for of in pairs), VOCAB // 2)
        assert {key for of in pairs for key, _ in of} == set(range(1, VOCAB // 2))
        assert {value for of in pairs for _, value in of} == set(range(VOCAB // 2, VOCAB))


def test_random_fillers_are_uniform_over_the_whole_vocabulary():
    drawn = samples("mqar", N, f"pairs=2 vocab={VOCAB}", 4000)
    fillers = []
    for words in drawn:
        keys = {words[1], words[3]}
        slots = [tuple(words[i : i + 2]) for i in range(5, len(words), 2)]
        fillers += [word for slot in slots if slot[0] not in keys for word in slot]
    asked = set(range(VOCAB))
    assert set(map(int, fillers)) == asked
    assert_equally_likely((int(second) for second in fillers[1::2]), VOCAB)
