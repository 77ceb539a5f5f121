"""Searches mean the same as text (google-re2, definition A.5) and as token numbers, on traces and on junk.

Axes: B samples, L positions.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval_gap.tasks.api import BOS, ENDSEARCH, EOS, STARTSEARCH, TaskConfig
from retrieval_gap.tasks.istree import IsTree, trace
from retrieval_gap.tasks.istree.traces import EDGE, FATHER, NODE_0
from tests.tasks.words import spell, textual_search

TASK = IsTree(TaskConfig(n=13))


def fast_search(task: IsTree, tokens: list[int]) -> str:
    """The result of one fast search, in a padded row."""
    row_1xL = np.array([[*tokens, 0, 0]], np.int32)
    return spell(task, task.fast_search(row_1xL, np.array([len(tokens)], np.int32)))[0]


def searches(tokens_L: np.ndarray) -> np.ndarray:
    return np.flatnonzero(tokens_L == ENDSEARCH)


def test_the_token_after_every_search_is_what_re2_finds(family):
    for n in (4, 5, 13, 16, 40):
        task = IsTree(TaskConfig(n=n, mode="rag", family=family))
        for tokens_L in task.sample(np.arange(5)).tokens_BxL:
            words = spell(task, tokens_L)
            for t in searches(tokens_L):
                assert textual_search(task, words[: t + 1]) == words[t + 1]


def test_the_token_after_every_search_is_what_the_fast_search_finds(family):
    for n in range(4, 129, 4):
        task = IsTree(TaskConfig(n=n, mode="rag", family=family))
        for tokens_L in task.sample(np.arange(3)).tokens_BxL:
            ends_B = searches(tokens_L)
            rows_BxL = np.broadcast_to(tokens_L, (len(ends_B), len(tokens_L)))
            found_B = task.fast_search(rows_BxL, (ends_B + 1).astype(np.int32))
            np.testing.assert_array_equal(found_B, tokens_L[ends_B + 1])


def test_pythons_own_engine_finds_the_same():
    task = IsTree(TaskConfig(n=9, mode="rag", family="random_tree"))
    for tokens_L in task.sample(np.arange(10)).tokens_BxL:
        words = spell(task, tokens_L)
        for t in searches(tokens_L):
            assert textual_search(task, words[: t + 1], engine="re") == words[t + 1]


# Prompt 5-1 4-0 4-12 12-1 on 13 nodes, and what was written after it.
@pytest.mark.parametrize(
    ("written", "query", "result"),
    [
        ("", "4 -", "0"),
        ("", "4 - 0", "12"),
        ("", "4 - 12", "[FAILED]"),
        ("", "1 -", "5"),
        ("", "1 - 5", "12"),
        ("", "2 -", "[FAILED]"),
        ("", "4 - 5", "[FAILED]"),
        ("", "12 - 4", "1"),
        ("", "2 ~", "[FAILED]"),
        ("2 ~ 4", "2 ~", "4"),
        ("2 ~ 12", "2 ~", "12"),
        ("12 ~ 4", "2 ~", "[FAILED]"),
        ("2 ~ 4 2 ~ 5", "2 ~", "4"),
        ("[STARTSEARCH] 2 ~ [ENDSEARCH] 7", "2 ~", "[FAILED]"),
        ("[STARTSEARCH] 2 - 0 [ENDSEARCH] 7", "2 -", "[FAILED]"),
        ("2 - 3", "2 -", "[FAILED]"),
        ("", "", "[FAILED]"),
        ("", "4", "[FAILED]"),
        ("", "4 - 0 -", "[FAILED]"),
        ("", "4 ~ 0", "[FAILED]"),
        ("", "4 - ~", "[FAILED]"),
        ("", "[BOS] -", "[FAILED]"),
        ("", "4 [ENDSEARCH] 4 -", "[FAILED]"),
        ("", "4 [STARTSEARCH] 4 -", "0"),
    ],
)
def test_both_searches_find_the_expected_result(written, query, result):
    text = f"[BOS] 5 - 1 4 - 0 12 - 4 12 - 1 [EOS] 0 {written} [STARTSEARCH] {query} [ENDSEARCH]".split()
    assert textual_search(TASK, text) == result
    assert fast_search(TASK, [TASK.vocabulary.index(word) for word in text]) == result


def test_a_search_that_was_never_opened_fails():
    assert fast_search(TASK, [BOS, NODE_0, EDGE, NODE_0 + 1, EOS, NODE_0, FATHER, ENDSEARCH]) == "[FAILED]"


def test_a_malformed_query_has_no_pattern():
    assert TASK.search_pattern(["4", "~", "~"]) is None
    assert TASK.search_pattern(["[PAD]", "~"]) is None
    assert TASK.search_pattern([]) is None


NODES = st.integers(NODE_0, NODE_0 + 12)
FEW_NODES = st.integers(NODE_0, NODE_0 + 3)
JUNK = st.lists(
    st.one_of(
        FEW_NODES,
        FEW_NODES,
        st.sampled_from([EDGE, FATHER, FATHER, STARTSEARCH]),
        st.integers(0, NODE_0 + 12),
    ),
    max_size=30,
)
QUERIES = st.one_of(
    st.tuples(FEW_NODES, st.just(FATHER)),
    st.tuples(FEW_NODES, st.just(EDGE)),
    st.tuples(FEW_NODES, st.just(EDGE), FEW_NODES),
    st.lists(st.integers(0, NODE_0 + 12), max_size=4),
)
PROMPTS = st.one_of(
    st.lists(st.tuples(FEW_NODES, FEW_NODES), max_size=8).map(
        lambda edges: [BOS, *(token for u, v in edges for token in (u, EDGE, v)), EOS]
    ),
    JUNK,
)


@settings(max_examples=1000, deadline=None)
@given(PROMPTS, JUNK, QUERIES)
def test_the_fast_search_agrees_with_re2_on_whatever_a_model_may_write(prompt, written, query):
    tokens = [*prompt, *written, STARTSEARCH, *query, ENDSEARCH]
    assert fast_search(TASK, tokens) == textual_search(TASK, spell(TASK, tokens))


@settings(max_examples=500, deadline=None)
@given(JUNK)
def test_the_fast_search_agrees_with_re2_on_pure_junk(tokens):
    assert fast_search(TASK, [*tokens, ENDSEARCH]) == textual_search(TASK, spell(TASK, [*tokens, ENDSEARCH]))


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_the_searches_of_any_simple_graph_are_answered_by_its_own_text(data):
    n = data.draw(st.integers(2, 9))
    pairs = [(u, v) for u in range(n) for v in range(u)]
    tokens_L, _ = trace(data.draw(st.lists(st.sampled_from(pairs), unique=True, max_size=n + 2)), n, "rag")
    for t in searches(tokens_L):
        assert fast_search(TASK, tokens_L[: t + 1].tolist()) == spell(TASK, tokens_L[t + 1 : t + 2])[0]
