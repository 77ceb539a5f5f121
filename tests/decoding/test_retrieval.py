"""The retrievers that decoding may use give the same answers, on gold traces and on junk; no query can hang."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval_gap.decoding.device_retrieval import make_device_retriever, search_istree
from retrieval_gap.decoding.retrieval import FastRetriever, RegexRetriever, make_retriever
from retrieval_gap.machine.errors import UsageError
from retrieval_gap.tasks.api import ENDSEARCH, FAILED, STARTSEARCH, Task, TaskConfig
from retrieval_gap.tasks.registry import load_task

N = 6
ISTREE = load_task("istree")(TaskConfig(n=N, mode="rag"))
PROMPT = 3 * N - 1


def answer(retriever: object, tokens: list[int]) -> list[int]:
    return retriever(np.array([tokens], np.int32), np.array([len(tokens)], np.int32))[0].tolist()  # type: ignore[operator]


tokens_of_istree = st.integers(0, len(ISTREE.vocabulary) - 1)
# what a model would write: mostly pieces of searches and facts, so that queries often make sense
nodes = st.integers(len(ISTREE.vocabulary) - N, len(ISTREE.vocabulary) - 1)
edge, father = (ISTREE.vocabulary.index(word) for word in "-~")
piece = st.one_of(
    st.tuples(nodes, st.just(father), nodes),
    st.tuples(st.just(STARTSEARCH), nodes, st.sampled_from((edge, father)), st.just(ENDSEARCH), nodes),
    st.tuples(st.just(STARTSEARCH), nodes, st.just(edge), nodes, st.just(ENDSEARCH), st.just(FAILED)),
    st.tuples(tokens_of_istree),
)
query = st.one_of(
    st.tuples(nodes, st.sampled_from((edge, father))),
    st.tuples(nodes, st.just(edge), nodes),
    st.lists(tokens_of_istree, max_size=4).map(tuple),
)


@settings(max_examples=400, deadline=None)
@given(sample=st.integers(0, 50), pieces=st.lists(piece, max_size=12), asked=query)
def test_both_retrievers_agree_whatever_the_model_wrote(
    sample: int, pieces: list[tuple[int, ...]], asked: tuple[int, ...]
) -> None:
    prompt = ISTREE.sample(np.array([sample])).tokens_BxL[0, :PROMPT].tolist()
    tokens = [*prompt, *(token for part in pieces for token in part), STARTSEARCH, *asked, ENDSEARCH]
    assert answer(FastRetriever(ISTREE), tokens) == answer(RegexRetriever(ISTREE), tokens)


def device_answers(tokens_RxL: np.ndarray, position: int) -> list[int]:
    return search_istree(torch.from_numpy(tokens_RxL), torch.tensor(position)).tolist()


@settings(max_examples=400, deadline=None)
@given(
    prompts=st.lists(
        st.one_of(st.integers(0, 50), st.lists(tokens_of_istree, max_size=PROMPT)), min_size=1, max_size=3
    ),
    pieces=st.lists(piece, max_size=12),
    asked=query,
    later=st.lists(piece, max_size=3),
)
def test_a_device_search_agrees_with_the_retrievers_whatever_the_model_wrote(
    prompts: list[int | list[int]], pieces: list[tuple[int, ...]], asked: tuple[int, ...], later: list[tuple[int, ...]]
) -> None:
    """A row is the prompt of a sample, or junk, then what was written, then later tokens, which must not be read."""
    written = [*(token for part in pieces for token in part), STARTSEARCH, *asked, ENDSEARCH]
    rows = [
        ISTREE.sample(np.array([p])).tokens_BxL[0, :PROMPT].tolist()
        if isinstance(p, int)
        else [*p, *[0] * PROMPT][:PROMPT]
        for p in prompts
    ]
    tokens_RxL = np.array([[*row, *written, *(token for part in later for token in part)] for row in rows], np.int32)
    position = PROMPT + len(written)
    expected = [answer(RegexRetriever(ISTREE), row[:position].tolist())[0] for row in tokens_RxL]
    assert device_answers(tokens_RxL, position) == expected


@settings(max_examples=300, deadline=None)
@given(tokens=st.lists(tokens_of_istree, min_size=1, max_size=14))
def test_a_device_search_agrees_with_the_retrievers_on_any_tokens_of_any_length(tokens: list[int]) -> None:
    stream = [*tokens, ENDSEARCH]
    room = np.full((1, len(stream) + 3), STARTSEARCH, np.int32)
    room[0, : len(stream)] = stream
    assert device_answers(room, len(stream)) == answer(RegexRetriever(ISTREE), stream)


def written(task: Task, words: str) -> list[int]:
    return [task.vocabulary.index(word) for word in words.split()]


@pytest.mark.parametrize(
    ("words", "later", "result"),
    [
        ("[BOS] 1 - 0 [EOS] 2 ~ 1 [STARTSEARCH] 2 ~ [ENDSEARCH]", "2 ~ 0", "1"),
        ("[BOS] 1 - 0 [EOS] [STARTSEARCH] 2 ~ [ENDSEARCH]", "2 ~ 0", "[FAILED]"),
        ("[BOS] 1 - 0 [STARTSEARCH] 2 - [ENDSEARCH]", "2 - 0", "[FAILED]"),
        ("[EOS] 1 - 0 [EOS] [STARTSEARCH] 1 - [ENDSEARCH]", "", "[FAILED]"),
        ("1 - 0 [STARTSEARCH] 1 - [ENDSEARCH]", "", "[FAILED]"),
        ("[STARTSEARCH] 1 - [ENDSEARCH]", "1 - 0", "[FAILED]"),
    ],
)
def test_a_device_search_reads_text_before_the_search_and_edges_after_the_beginning(
    words: str, later: str, result: str
) -> None:
    tokens = written(ISTREE, words)
    tokens_1xL = np.array([[*tokens, *written(ISTREE, later)]], np.int32)
    assert device_answers(tokens_1xL, len(tokens)) == answer(RegexRetriever(ISTREE), tokens) == written(ISTREE, result)


@pytest.mark.parametrize("family", ["two_star", "random_tree", "path_like"])
@pytest.mark.parametrize("n", [4, 9, 32])
def test_a_device_search_gives_every_result_of_a_gold_trace(family: str, n: int) -> None:
    task = load_task("istree")(TaskConfig(n=n, mode="rag", family=family))
    tokens_RxL = task.sample(np.arange(8)).tokens_BxL
    searches = 0
    for position in range(1, tokens_RxL.shape[1]):
        asking_R = tokens_RxL[:, position - 1] == ENDSEARCH
        if asking_R.any():
            results_R = np.array(device_answers(tokens_RxL, position))
            assert (results_R == tokens_RxL[:, position])[asking_R].all()
            searches += int(asking_R.sum())
    assert searches > 8 * n


def test_a_task_is_searched_on_a_device_only_if_the_device_gives_its_answers() -> None:
    class Own(type(ISTREE)):  # type: ignore[misc]
        def search_pattern(self, query: object) -> str:
            return "x"

    assert make_device_retriever(ISTREE) is search_istree
    assert make_device_retriever(ISTREE, "regex") is None
    assert make_device_retriever(Own(ISTREE.config)) is None
    assert make_device_retriever(load_task("index")(TaskConfig(n=4, mode="rag"))) is None


def test_the_end_of_a_search_that_was_not_opened_gets_failed() -> None:
    tokens = [*ISTREE.sample(np.array([0])).tokens_BxL[0, :PROMPT].tolist(), ENDSEARCH]
    assert answer(FastRetriever(ISTREE), tokens) == answer(RegexRetriever(ISTREE), tokens) == [FAILED]


@pytest.mark.parametrize("n", [2, 12, 1000])
def test_the_expressions_that_index_writes_find_its_tokens(n: int) -> None:
    task = load_task("index")(TaskConfig(n=n, mode="rag"))
    batch = task.sample(np.arange(20))
    for row in batch.tokens_BxL:
        at = int(np.flatnonzero(row == ENDSEARCH)[0])
        assert answer(make_retriever(task), row[: at + 1].tolist()) == [row[at + 1]]


@pytest.mark.parametrize(
    "junk", [r"^(?:\S+\s){", r"}(\S+)", r"3 3 }(\S+)", r"^(?:\S+\s){ ^(?:\S+\s){ 2 }(\S+) }(\S+)", "a b c", ""]
)
def test_an_invalid_expression_and_one_without_a_match_get_failed(junk: str) -> None:
    task = load_task("index")(TaskConfig(n=4, mode="rag"))
    tokens = [*written(task, "[BOS] a b c d [EOS] 2 [STARTSEARCH]"), *written(task, junk), ENDSEARCH]
    assert answer(RegexRetriever(task), tokens) == [FAILED]


@pytest.mark.timeout(120)
def test_an_expression_that_would_keep_python_busy_for_ever_ends() -> None:
    class Evil(type(ISTREE)):  # type: ignore[misc]
        def search_pattern(self, query: object) -> str:
            return r"(\S+\s?)+(\S+\s?)+(\S+\s?)+(\S+\s?)+x$"

    task = Evil(ISTREE.config)
    tokens = [*ISTREE.sample(np.array([0])).tokens_BxL[0].tolist() * 20, STARTSEARCH, ENDSEARCH]
    assert answer(RegexRetriever(task), tokens) == [FAILED]


def test_a_task_without_a_fast_search_says_so() -> None:
    task = load_task("index")(TaskConfig(n=4, mode="rag"))
    assert isinstance(make_retriever(task), RegexRetriever)
    assert isinstance(make_retriever(ISTREE), FastRetriever)
    with pytest.raises(UsageError, match="no fast search"):
        make_retriever(task, "fast")
