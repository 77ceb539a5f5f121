"""Every recall task keeps the contract, knows its entropy exactly, and shares no sequence between splits.

Axes: B samples, L positions.
"""

import math
from collections import Counter
from collections.abc import Hashable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from retrieval_gap.tasks.api import PAD, Task, TaskConfig, TaskError, answers_of, questions_of
from retrieval_gap.tasks.registry import load_task
from tests.tasks.words import rows, spell, textual_search

TASKS = (
    "index",
    "associative_recall",
    "cgram_retrieval",
    "counting",
    "copy",
    "mqar",
    "position_retrieval",
    "last_write",
)
# Tasks with a query, which can be asked first.
QUERIED = ("index", "associative_recall", "cgram_retrieval", "position_retrieval")
MODES = ("direct", "rag")
ARRAYS = ("tokens_BxL", "loss_mask_BxL", "prompt_len_B", "length_B", "answer_B")
# Sizes so small that every possible sequence is drawn.
TINY = {
    "index": {"n": 6, "options": "values=2"},
    "associative_recall": {"n": 6, "options": "values=4"},
    "cgram_retrieval": {"n": 10, "options": "c=3 values=4"},
    "counting": {"n": 8, "options": "most=2"},
    "copy": {"n": 4, "options": "values=3"},
    "mqar": {"n": 8, "options": "vocab=24 pairs=2"},
    "position_retrieval": {"n": 5},
    "last_write": {"n": 12, "options": "variables=3 values=4"},
}
GOLDEN = {
    "index": "[BOS] d e h n j k l m [EOS] 3 h",
    "associative_recall": "[BOS] 1 6 2 6 3 5 4 7 [EOS] 3 5",
    "cgram_retrieval": "[BOS] _ _ 0 1 e 0 0 j [EOS] 0 0 j",
    "counting": "[BOS] d _ a c _ c _ a [EOS] a 0 [TRUE]",
    "copy": "[BOS] f b e c f m i l [EOS] f b e c f m i l",
    "mqar": "[BOS] 2165 5528 2165 5528",
    "position_retrieval": "[BOS] f d a c e b g h [EOS] a 3",
    "last_write": "[BOS] a 9 d 7 b 11 c 0 [EOS] a 9",
}

every_task = pytest.mark.parametrize("name", TASKS)
every_mode = pytest.mark.parametrize("mode", MODES)
every_view = pytest.mark.parametrize(
    ("name", "mode"),
    [(name, mode) for name in (*TASKS, "word_problem", "find_path") for mode in load_task(name).modes],
)


def make(name: str, n: int, **settings: object) -> Task:
    return load_task(name)(TaskConfig(n=n, **settings))  # type: ignore[arg-type]


def carried(name: str, words: list[str], task: Task) -> Hashable:
    """What has to be carried to the question: all that the answers to questions about a sequence depend on."""
    sequence = words[1 : task.context_len - (name != "mqar")]  # type: ignore[attr-defined]
    if name in ("index", "copy", "position_retrieval"):
        return tuple(sequence)
    if name == "last_write":
        return frozenset(dict(zip(sequence[::2], sequence[1::2], strict=True)).items())
    if name == "counting":
        counts = Counter(sequence)
        return tuple(sorted((word, count) for word, count in counts.items() if word != "_"))
    keys = 2 if name == "cgram_retrieval" else 1
    sequence = [word for word in sequence if word != "_"]
    grams = [tuple(sequence[i : i + keys + 1]) for i in range(0, len(sequence), keys + 1)]
    return frozenset(grams)


def sequences(name: str, split: str, count: int) -> Counter[Hashable]:
    task = make(name, split=split, **TINY[name])  # type: ignore[arg-type]
    batch = task.sample(np.arange(count))
    return Counter(carried(name, words, task) for words, _ in rows(task, batch))


@every_task
def test_samples_are_pinned(name):
    """A change here changes every result: say so in the results."""
    task = make(name, 8)
    words, _ = next(rows(task, task.sample(np.arange(1))))
    assert " ".join(words) == GOLDEN[name]


@every_view
def test_a_sample_does_not_depend_on_its_batch(name, mode):
    task = make(name, 48, mode=mode, seed=3)
    index_B = np.array([5, 0, 2**40, 17, 5])
    together = list(rows(task, task.sample(index_B)))
    alone = [next(rows(task, make(name, 48, mode=mode, seed=3).sample(np.array([index])))) for index in index_B]
    assert together == alone


@every_view
def test_threads_that_sample_at_once_do_not_meet(name, mode):
    task = make(name, 64, mode=mode)
    parts = np.split(np.arange(400), 8)
    with ThreadPoolExecutor(2) as pool:
        batches = list(pool.map(task.sample, parts))
    for part, batch in zip(parts, batches, strict=True):
        again = task.sample(part)
        assert all(np.array_equal(getattr(batch, array), getattr(again, array)) for array in ARRAYS)


@every_task
def test_both_views_show_the_same_problems_and_answers(name):
    direct, searched = (make(name, 32, mode=mode) for mode in MODES)
    shown, asked = direct.sample(np.arange(20)), searched.sample(np.arange(20))
    for b, prompt in enumerate(shown.prompt_len_B):
        assert shown.tokens_BxL[b, :prompt].tolist() == asked.tokens_BxL[b, :prompt].tolist()
    assert answers_of(shown, direct).tolist() == answers_of(asked, searched).tolist()


@every_task
@every_mode
@pytest.mark.parametrize("n", [8, 36, 128])
def test_a_batch_keeps_the_contract(name, mode, n):
    task = make(name, n, mode=mode)
    batch = task.sample(np.arange(200))
    position_BxL = np.arange(batch.tokens_BxL.shape[1]) + 0 * batch.tokens_BxL
    assert batch.length_B.max() == batch.tokens_BxL.shape[1] <= task.max_length
    assert (batch.tokens_BxL[position_BxL >= batch.length_B[:, None]] == PAD).all()
    assert not batch.loss_mask_BxL[position_BxL < batch.prompt_len_B[:, None]].any()
    assert not batch.loss_mask_BxL[position_BxL >= batch.length_B[:, None]].any()
    assert (batch.tokens_BxL[np.arange(200), batch.length_B - 1] == batch.answer_B).all()
    assert answers_of(batch, task).shape == (200, task.questions)
    assert np.isin(batch.answer_B, task.answers).all()
    assert batch.tokens_BxL.max() < len(task.vocabulary)
    assert (batch.prompt_len_B >= task.context_len).all()
    if name != "mqar":
        assert set(batch.length_B) == {task.max_length}
        assert {spell(task, row)[task.context_len - 1] for row in batch.tokens_BxL} == {"[EOS]"}


@every_task
def test_some_trace_has_the_maximum_length(name):
    task = make(name, 8, mode="rag")
    assert task.sample(np.arange(500)).length_B.max() == task.max_length


@every_task
def test_spellings_are_distinct_and_the_same_for_every_view(name):
    words = [make(name, 40, mode=mode).vocabulary for mode in MODES]
    assert words[0] == words[1]
    assert len(set(words[0])) == len(words[0])
    assert not any(" " in word for word in words[0])


@pytest.mark.parametrize(
    ("name", "options"), [(name, "") for name in TASKS] + [(name, "query=first") for name in QUERIED]
)
@pytest.mark.parametrize("engine", ["re", "re2"])
@pytest.mark.parametrize("n", [8, 30, 250])
def test_every_search_finds_in_both_engines_what_the_trace_says(name, options, engine, n):
    task = make(name, n, mode="rag", options=options)
    for words, _ in rows(task, task.sample(np.arange(3 if n == 250 else 20))):
        ends = [i for i, word in enumerate(words) if word == "[ENDSEARCH]"]
        assert ends
        for end in ends:
            assert textual_search(task, words[: end + 1], engine) == words[end + 1]


@every_task
def test_no_sequence_is_in_two_splits_even_if_all_are_drawn(name):
    drawn = {split: set(sequences(name, split, 20_000)) for split in ("train", "validation", "test")}
    together = set.union(*drawn.values())
    assert sum(map(len, drawn.values())) == len(together)
    shares = [len(part) / len(together) for part in drawn.values()]
    np.testing.assert_allclose(shares, [0.5, 0.25, 0.25], atol=0.15)


@pytest.mark.parametrize("name", [name for name in TASKS if name != "mqar"])
def test_the_entropy_is_that_of_all_sequences_and_they_are_equally_likely(name):
    counts = [sequences(name, split, 20_000) for split in ("train", "validation", "test")]
    bits = make(name, **TINY[name]).bits_to_cross
    assert sum(map(len, counts)) == pytest.approx(2**bits, rel=1e-9)
    for count in counts:
        expected = 20_000 / len(count)
        chi_square = sum((seen - expected) ** 2 / expected for seen in count.values())
        assert chi_square < len(count) + 4 * math.sqrt(2 * len(count))


@pytest.mark.parametrize(
    ("name", "n", "options", "different"),
    [
        ("index", 10, "values=3", 3**10),
        ("copy", 8, "", 16**8),
        ("associative_recall", 16, "", 8**8),
        ("cgram_retrieval", 64, "c=5 values=6", 6**12),
        ("counting", 10, "most=3", 4**3),
        ("mqar", 64, "vocab=100 pairs=3", 50 * 49 * 48),
        ("position_retrieval", 20, "", math.factorial(20)),
        ("last_write", 64, "variables=5 values=7", 7**5),
    ],
)
def test_the_entropy_is_the_documented_formula(name, n, options, different):
    assert make(name, n, options=options).bits_to_cross == pytest.approx(math.log2(different), rel=1e-12)


@every_task
def test_seeds_splits_and_options_give_other_samples(name):
    plain = make(name, 64).sample(np.arange(20))
    option = {"counting": "most=3", "cgram_retrieval": "c=4", "mqar": "pairs=3"}.get(name, "values=5")
    options = [] if name == "position_retrieval" else [{"options": option}]
    for other in ({"seed": 1}, {"split": "test"}, *options):
        changed = make(name, 64, **other).sample(np.arange(20))
        assert not np.array_equal(plain.tokens_BxL[:, :9], changed.tokens_BxL[:, :9])


@every_task
def test_an_option_that_repeats_its_default_changes_nothing(name):
    task = make(name, 64)
    said = make(name, 64, options=" ".join(reversed(task.config.options.split())))
    assert said.config == task.config
    assert np.array_equal(said.sample(np.arange(5)).tokens_BxL, task.sample(np.arange(5)).tokens_BxL)


@pytest.mark.parametrize("name", QUERIED)
@every_mode
def test_with_query_first_the_same_problems_have_their_query_in_front(name, mode):
    last, first = (make(name, 24, mode=mode, options=f"query={where}") for where in ("last", "first"))
    assert last.config == make(name, 24, mode=mode).config  # the default is not written down
    assert (last.context_len, first.context_len) == (26, None)
    behind, in_front = last.sample(np.arange(40)), first.sample(np.arange(40))
    assert (behind.loss_mask_BxL == in_front.loss_mask_BxL).all()
    for (words, _), (asked, _) in zip(rows(last, behind), rows(first, in_front), strict=True):
        prompt = int(behind.prompt_len_B[0])
        assert asked[:prompt] == ["[BOS]", *words[26:prompt], *words[1:26]]
        assert asked[-1] == words[-1]


def test_a_later_question_is_the_text_between_an_answer_and_the_next_graded_token():
    task = make("mqar", 16, mode="rag", options="pairs=2")
    batch = task.sample(np.arange(30))
    question_BxQx2 = questions_of(batch, task)
    for b, (words, graded) in enumerate(rows(task, batch)):
        (_, first), (start, stop) = question_BxQx2[b]
        assert first == batch.prompt_len_B[b]
        assert words[start - 1] == spell(task, answers_of(batch, task)[b])[0]
        assert not any(graded[start:stop])
        assert words[stop] == "[STARTSEARCH]"
    task = make("copy", 8)
    question_BxQx2 = questions_of(task.sample(np.arange(3)), task)
    assert (question_BxQx2[:, 1:, 0] == question_BxQx2[:, 1:, 1]).all()


@pytest.mark.parametrize(
    ("name", "wrong", "told"),
    [
        ("index", {"n": 1001}, r"^index: n = 1001 is outside 2..1000 \(--length\): RE2 repeats a group at most 1000"),
        ("index", {"n": 16, "family": "two_star"}, "^index: "),
        ("index", {"n": 8, "mode": "cot"}, "unknown mode 'cot' .choose from direct, rag"),
        ("index", {"n": 8, "options": "value=3"}, r"unknown option 'value' \(it has query, values\)"),
        ("index", {"n": 8, "options": "values=1"}, r"--values 1 is outside 2\.\.512"),
        ("index", {"n": 8, "options": "values=2.5"}, "--values '2.5' is not a whole number"),
        ("index", {"n": 8, "options": "values=1_6"}, "--values '1_6' is not a whole number"),
        ("index", {"n": 8, "options": "values=\u0661\u0666"}, "is not a whole number"),
        (
            "cgram_retrieval",
            {"n": 4096, "mode": "rag", "options": "c=1002 query=first"},
            "RE2 repeats at most 1,000 times: --c 1001 or less",
        ),
        ("index", {"n": 3, "options": "values=2"}, "sequences hold 3 bits at --length 3"),
        ("associative_recall", {"n": 9}, "--length 9 is odd"),
        ("associative_recall", {"n": 8, "mode": "cot"}, "unknown mode 'cot'"),
        ("cgram_retrieval", {"n": 64, "options": "c=65"}, r"--c 65 is outside 2\.\.32"),
        ("cgram_retrieval", {"n": 64, "options": "c=1"}, r"--c 1 is outside 2\.\.32"),
        ("counting", {"n": 64, "options": "most=65"}, r"--most 65 is outside 1\.\.64"),
        ("counting", {"n": 4}, "sequences hold 3.17 bits"),
        ("copy", {"n": 1}, r"n = 1 is outside 2\.\.1000"),
        ("copy", {"n": 8, "options": "query=first"}, r"^copy: unknown option 'query' \(it has values\)$"),
        ("counting", {"n": 8, "options": "query=first"}, r"^counting: unknown option 'query' \(it has most\)$"),
        (
            "index",
            {"n": 8, "options": "query=frist"},
            "unknown query 'frist' .choose from last, first.; did you mean 'f",
        ),
        ("position_retrieval", {"n": 1001}, r"n = 1001 is outside 2\.\.1000"),
        ("position_retrieval", {"n": 4}, "sequences hold 4.58 bits at --length 4"),
        ("last_write", {"n": 9}, "--length 9 is odd, and an assignment is two tokens"),
        ("last_write", {"n": 8, "options": "variables=5"}, r"--variables 5 is outside 2\.\.4"),
        ("last_write", {"n": 64, "options": "variables=5 values=2"}, "raise --variables or --values$"),
        ("mqar", {"n": 65}, "--length 65 is odd"),
        ("mqar", {"n": 64, "options": "pairs=17"}, r"--pairs 17 is outside 1\.\.16"),
        ("mqar", {"n": 64, "options": "pairs=16 vocab=20"}, r"--pairs 16 is outside 1\.\.9"),
        ("mqar", {"n": 64, "options": "power=0"}, "--power 0.0 is outside"),
        ("mqar", {"n": 64, "options": "power=nan"}, "--power nan is outside"),
        ("istree", {"n": 8, "options": "c=3"}, r"istree: unknown option 'c' \(it has names\)"),
    ],
)
def test_a_bad_configuration_is_refused_in_one_line_with_the_flag_and_its_range(name, wrong, told):
    with pytest.raises(TaskError, match=told) as refused:
        make(name, **wrong)
    assert "\n" not in str(refused.value)
