"""Index answers with the token at the place, and its searches are regular expressions that find it.

Axes: B samples, L positions.
"""

import numpy as np
import pytest

from retrieval_gap.tasks.api import TaskConfig
from retrieval_gap.tasks.index import CAPTURE, SKIP, Index
from retrieval_gap.tasks.recall import letters
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
            assert set(words[1 : n + 1]) <= set("abcdefghijklmnop")
            assert (words, graded) == oracle(words, n, mode)
            assert task.vocabulary[batch.answer_B[b]] == words[-1]


def test_the_worked_example_can_be_searched():
    task = Index(TaskConfig(n=4, mode="rag"))
    words = ["[BOS]", *"capa", "[EOS]", "3", "[STARTSEARCH]", SKIP, "3", CAPTURE, "[ENDSEARCH]"]
    assert textual_search(task, words) == "p"
    assert task.search_pattern(words[8:11]) == r"^(?:\S+\s){3}(\S+)"


def test_answers_are_the_letters_of_the_alphabet():
    for values in (2, 16, 30):
        task = Index(TaskConfig(n=50, options=f"values={values}"))
        assert len(task.vocabulary) == 8 + 2 + values + 50
        assert tuple(task.vocabulary[token] for token in task.answers) == letters(values)
    assert letters(30)[24:] == ("y", "z", "aa", "ab", "ac", "ad")


def test_values_and_places_are_uniform():
    batch = Index(TaskConfig(n=10)).sample(np.arange(20_000))
    value_counts = np.bincount(batch.tokens_BxL[:, 1:11].ravel() - 10)
    place_counts = np.bincount(batch.tokens_BxL[:, 12] - batch.tokens_BxL[:, 12].min())
    for counts in (value_counts, place_counts):
        expected = counts.sum() / len(counts)
        assert ((counts - expected) ** 2 / expected).sum() < len(counts) + 5 * np.sqrt(2 * len(counts))
