"""Index answers with the token at the place, and its searches are regular expressions that find it.

Axes: B samples, L positions.
"""

import numpy as np
import pytest

from tasks.api import TaskConfig, TaskError
from tasks.index import CAPTURE, SKIP, VALUES, Index
from tests.tasks.words import rows, textual_search

SIZES = (2, 3, 9, 16, 17, 128, 1000)


def oracle(words: list[str], n: int, mode: str) -> tuple[list[str], list[int]]:
    """The whole trace and its mask, from the prompt."""
    place = words[n + 2]
    answer = words[1 : n + 1][int(place) - 1]
    target, graded = [answer], [1]
    if mode == "rag":
        target = ["[STARTSEARCH]", SKIP, place, CAPTURE, "[ENDSEARCH]", answer, "[EOS]", answer]
        graded = [1, 1, 1, 1, 1, 0, 1, 1]
    return words[: n + 3] + target, [0] * (n + 3) + graded


@pytest.mark.parametrize("mode", ["direct", "rag"])
def test_traces_are_what_the_oracle_writes(mode):
    for n in SIZES:
        task = Index(TaskConfig(n=n, mode=mode))
        batch = task.sample(np.arange(40))
        assert set(batch.length_B) == {task.max_length}
        assert set(batch.prompt_len_B) == {n + 3}
        for b, (words, graded) in enumerate(rows(task, batch)):
            assert words[0] == "[BOS]"
            assert words[n + 1] == "[EOS]"
            assert set(words[1 : n + 1]) <= set(VALUES)
            assert (words, graded) == oracle(words, n, mode)
            assert task.vocabulary[batch.answer_B[b]] == words[-1]


@pytest.mark.parametrize("engine", ["re", "re2"])
def test_the_search_finds_the_token_at_every_place_in_both_engines(engine):
    for n in SIZES:
        task = Index(TaskConfig(n=n, mode="rag"))
        for words, _ in rows(task, task.sample(np.arange(20))):
            end = words.index("[ENDSEARCH]")
            assert textual_search(task, words[: end + 1], engine) == words[end + 1]


def test_the_worked_example_can_be_searched():
    task = Index(TaskConfig(n=4, mode="rag"))
    words = ["[BOS]", *"capa", "[EOS]", "3", "[STARTSEARCH]", SKIP, "3", CAPTURE, "[ENDSEARCH]"]
    assert textual_search(task, words) == "p"
    assert task.search_pattern(words[8:11]) == r"^(?:\S+\s){3}(\S+)"


def test_spellings_are_distinct_and_depend_on_n_alone():
    for mode in ("direct", "rag"):
        vocabulary = Index(TaskConfig(n=50, mode=mode)).vocabulary
        assert len(set(vocabulary)) == len(vocabulary) == 8 + 16 + 2 + 50
        assert not any(" " in word for word in vocabulary)
    assert [vocabulary[token] for token in Index(TaskConfig(n=50)).answers] == list(VALUES)


def test_a_sample_does_not_depend_on_its_batch_and_views_agree():
    task = Index(TaskConfig(n=20, seed=4))
    together = task.sample(np.array([9, 1, 2**50]))
    assert (task.sample(np.array([2**50])).tokens_BxL[0] == together.tokens_BxL[2]).all()
    searched = Index(TaskConfig(n=20, seed=4, mode="rag")).sample(np.array([9, 1, 2**50]))
    assert (searched.tokens_BxL[:, :23] == together.tokens_BxL[:, :23]).all()


def test_no_problem_is_in_two_splits():
    """All 16 x 16 x 2 problems of two tokens are drawn."""
    problems = []
    for split in ("train", "validation", "test"):
        batch = Index(TaskConfig(n=2, split=split)).sample(np.arange(8000))
        problems.append({tuple(row_L[1:5].tolist()) for row_L in batch.tokens_BxL})
    assert sum(map(len, problems)) == len(set.union(*problems)) == 16 * 16 * 2
    assert 200 < len(problems[0]) < 312


def test_values_and_places_are_uniform():
    batch = Index(TaskConfig(n=10)).sample(np.arange(20_000))
    value_counts = np.bincount(batch.tokens_BxL[:, 1:11].ravel() - 8)
    place_counts = np.bincount(batch.tokens_BxL[:, 12] - batch.tokens_BxL[:, 12].min())
    for counts in (value_counts, place_counts):
        expected = counts.sum() / len(counts)
        assert ((counts - expected) ** 2 / expected).sum() < len(counts) + 5 * np.sqrt(2 * len(counts))


def test_samples_are_pinned():
    """A change here changes every result: say so in the results."""
    task = Index(TaskConfig(n=8))
    words, _ = next(rows(task, task.sample(np.arange(1))))
    assert " ".join(words) == "[BOS] e n f f m o i o [EOS] 4 f"


@pytest.mark.parametrize("wrong", [{"mode": "cot"}, {"n": 1001}, {"family": "two_star"}])
def test_a_wrong_configuration_is_refused(wrong):
    with pytest.raises(TaskError, match=r"^index: "):
        Index(TaskConfig(**{"n": 16, **wrong}))
