"""The fast search of a task answers as its regular expression does, whatever a model has written.

Axes: B samples, L positions.
"""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval_gap.tasks.api import ENDSEARCH, STARTSEARCH, Task, TaskConfig
from retrieval_gap.tasks.registry import load_task
from tests.tasks.words import rows, spell, textual_search

TASKS = {
    "position_retrieval": ["", "query=first"],
    "last_write": ["variables=3 values=4"],
    "find_path": ["", "names=100", "calls=one", "ask=path"],
}
CASES = [(name, options) for name, each in TASKS.items() for options in each]

every_case = pytest.mark.parametrize(("name", "options"), CASES)


def make(name: str, options: str, n: int) -> Task:
    return load_task(name)(TaskConfig(n=n, mode="rag", options=options))


def fast(task: Task, tokens_L: np.ndarray) -> str:
    found = task.fast_search(tokens_L[None].astype(np.int32), np.array([len(tokens_L)], np.int32))
    assert found is not None
    return task.vocabulary[found[0]]


@every_case
@pytest.mark.parametrize("n", [10, 14, 64])
def test_every_search_of_a_trace_is_answered_as_the_trace_says(name: str, options: str, n: int) -> None:
    task = make(name, options, n)
    batch = task.sample(np.arange(30))
    for row, (words, _) in zip(batch.tokens_BxL, rows(task, batch), strict=True):
        ends = [i for i, word in enumerate(words) if word == "[ENDSEARCH]"]
        assert ends
        for end in ends:
            assert fast(task, row[: end + 1]) == textual_search(task, words[: end + 1]) == words[end + 1]


def mostly_formed(task: Task, draw: Callable[[st.SearchStrategy[int]], int]) -> list[int]:
    """The query of a gold trace with some tokens exchanged, left out or added."""
    tokens = task.sample(np.arange(1)).tokens_BxL[0].tolist()
    query = tokens[tokens.index(STARTSEARCH) + 1 : tokens.index(ENDSEARCH)]
    token = st.integers(0, len(task.vocabulary) - 1)
    for _ in range(draw(st.integers(0, 2))):
        place = draw(st.integers(0, len(query)))
        if draw(st.booleans()):
            query.insert(place, draw(token))
        else:
            query[place : place + 1] = [draw(token)] if draw(st.booleans()) else []
    return query


@every_case
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_both_searches_answer_any_query_after_any_text_alike(name: str, options: str, data: st.DataObject) -> None:
    task = make(name, options, 10)
    token = st.integers(1, len(task.vocabulary) - 1)
    prompt_len = int(task.sample(np.arange(1)).prompt_len_B[0])
    text = task.sample(np.array([data.draw(st.integers(0, 50))])).tokens_BxL[0, :prompt_len].tolist()
    text = text[data.draw(st.integers(0, 3)) :] + data.draw(st.lists(token, max_size=4))
    query = mostly_formed(task, data.draw)
    start = [STARTSEARCH] if data.draw(st.booleans()) or not text else []
    tokens_L = np.array([*text, *start, *query, ENDSEARCH])
    assert fast(task, tokens_L) == textual_search(task, spell(task, tokens_L))


@every_case
def test_rows_of_a_batch_are_searched_one_by_one(name: str, options: str) -> None:
    task = make(name, options, 10)
    batch = task.sample(np.arange(16))
    end_B = np.array([row.tolist().index(ENDSEARCH) for row in batch.tokens_BxL], np.int32)
    end_B[::3] -= 1  # and some that do not end a search
    found_B = task.fast_search(batch.tokens_BxL, end_B + 1)
    assert found_B is not None
    words = [spell(task, row[: end + 1]) for row, end in zip(batch.tokens_BxL, end_B, strict=True)]
    assert spell(task, found_B) == [textual_search(task, prefix) for prefix in words]
