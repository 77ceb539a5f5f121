"""Traces follow the released format: they match worked examples, and a second tracer that shares no code.

Axes: B samples, L positions.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval_gap.tasks.api import FALSE, TRUE, TaskConfig, TaskError
from retrieval_gap.tasks.istree import IsTree, oracle, trace, vocabulary
from tests.tasks.words import rows

SIZES = (4, 5, 6, 7, 8, 13, 16, 31, 64, 100, 128)
SHORT = {"S": "[STARTSEARCH]", "E": "[ENDSEARCH]", "F": "[FAILED]"}

PATH = [(5, 1), (4, 0), (4, 2), (5, 3), (2, 1)]
PATH_RAG = """
    0 S 0 ~ E F S 0 - E 4 S 4 ~ E F 4 ~ 0
    4 S 4 ~ E 0 S 4 - E 0 S 4 - 0 E 2 S 2 ~ E F 2 ~ 4
    2 S 2 ~ E 4 S 2 - E 4 S 2 - 4 E 1 S 1 ~ E F 1 ~ 2
    1 S 1 ~ E 2 S 1 - E 5 S 5 ~ E F 5 ~ 1
    5 S 5 ~ E 1 S 5 - E 1 S 5 - 1 E 3 S 3 ~ E F 3 ~ 5
    3 S 3 ~ E 5 S 3 - E 5 S 3 - 5 E F
    5 S 5 ~ E 1 S 5 - 3 E F
    1 S 1 ~ E 2 S 1 - 5 E 2 S 1 - 2 E F
    2 S 2 ~ E 4 S 2 - 1 E F
    4 S 4 ~ E 0 S 4 - 2 E F
    0 S 0 ~ E F S 0 - 4 E F [EOS] [TRUE]
"""
TRIANGLE = [(2, 0), (2, 1), (1, 0), (4, 3)]
TRIANGLE_RAG_END = "1 S 1 ~ E 2 S 1 - E 2 S 1 - 2 E 0 S 0 ~ E F [EOS] [FALSE]"


def words(edges: list[tuple[int, int]], n: int, mode: str) -> list[str]:
    tokens_L, _ = trace(edges, n, mode)
    return [vocabulary(n)[token] for token in tokens_L]


def written_out(text: str) -> list[str]:
    return [SHORT.get(word, word) for word in text.split()]


def test_a_prompt_lists_edges_in_order_with_the_larger_node_first():
    prompt = ["[BOS]", "5", "-", "1", "4", "-", "0", "4", "-", "2", "5", "-", "3", "2", "-", "1", "[EOS]"]
    assert words(PATH, 6, "direct") == [*prompt, "[TRUE]"]
    assert words([(v, u) for u, v in PATH], 6, "direct") == [*prompt, "[TRUE]"]


@pytest.mark.parametrize(
    ("edges", "n", "tour"),
    [
        (PATH, 6, "0 4 2 1 5 3 5 1 2 4 0 [EOS] [TRUE]"),
        (TRIANGLE, 5, "0 2 1 [EOS] [FALSE]"),
        ([(4, 0), (4, 2), (5, 1), (5, 3), (3, 1)], 6, "0 4 2 4 0 [EOS] [FALSE]"),
        ([(2, 1), (3, 2), (3, 1)], 4, "0 [EOS] [FALSE]"),
    ],
    ids=["a tree is toured", "a triangle cuts the tour", "a component is toured", "node 0 stands alone"],
)
def test_a_chain_of_thought_is_the_tour_of_the_search(edges, n, tour):
    assert words(edges, n, "cot")[3 * len(edges) + 2 :] == tour.split()


def test_the_released_example_of_a_tree_is_written_token_for_token():
    assert words(PATH, 6, "rag")[17:] == written_out(PATH_RAG)


def test_the_father_of_the_root_is_failed_even_if_a_cycle_leads_back_to_it():
    assert words(TRIANGLE, 5, "rag")[-19:] == written_out(TRIANGLE_RAG_END)[-19:]


def test_samples_are_what_the_oracle_writes(family, mode):
    for n in SIZES:
        task = IsTree(TaskConfig(n=n, mode=mode, family=family))
        batch = task.sample(np.arange(12))
        for b, sample in enumerate(rows(task, batch)):
            edges = task.edges(batch.tokens_BxL[b])
            assert sample == oracle.trace(edges, n, mode)
            assert (batch.answer_B[b] == TRUE) == oracle.is_tree(edges, n)


def test_every_size_up_to_128_gives_traces_that_agree_with_the_oracle(family):
    for n in range(4, 129):
        task = IsTree(TaskConfig(n=n, mode="rag", family=family))
        batch = task.sample(np.arange(2))
        for b, sample in enumerate(rows(task, batch)):
            assert sample == oracle.trace(task.edges(batch.tokens_BxL[b]), n, "rag")


@st.composite
def simple_graphs(draw: st.DrawFn) -> tuple[list[tuple[int, int]], int]:
    n = draw(st.integers(1, 12))
    pairs = [(u, v) for u in range(n) for v in range(u)]
    edges = draw(st.lists(st.sampled_from(pairs), unique=True, max_size=n + 3)) if pairs else []
    return edges, n


@settings(max_examples=300, deadline=None)
@given(simple_graphs(), st.sampled_from(["direct", "cot", "rag"]))
def test_any_simple_graph_can_be_traced(graph, mode):
    edges, n = graph
    tokens_L, loss_mask_L = trace(edges, n, mode)
    spelled = [vocabulary(n)[token] for token in tokens_L]
    assert (spelled, loss_mask_L.astype(int).tolist()) == oracle.trace(edges, n, mode)
    assert (tokens_L[-1] == TRUE) == oracle.is_tree(edges, n)


@pytest.mark.parametrize("edges", [[(1, 1)], [(2, 1), (1, 2)], [(4, 0)], [(1, -1)]])
def test_an_edge_list_that_is_not_a_simple_graph_is_refused_in_one_line(edges):
    with pytest.raises(TaskError, match=r"^istree: not a simple graph on nodes 0\.\.3: .*$"):
        trace(edges, 4, "cot")


@pytest.mark.parametrize(
    ("edges", "n", "mode", "told"),
    [
        ([[0, 1, 2], [1, 2, 0]], 3, "cot", "edges are pairs of whole numbers"),
        ([[0, 1], [1]], 3, "cot", "edges are pairs of whole numbers"),
        ([0, 1], 3, "cot", "edges are pairs of whole numbers"),
        ([[0.7, 1.2]], 2, "cot", "edges are pairs of whole numbers"),
        ([["0", "1"]], 2, "cot", "edges are pairs of whole numbers"),
        ([[0, 2**40]], 2, "cot", "not a simple graph"),
        ([[0, 1]], 2, "cott", "unknown mode 'cott'"),
        ([], 0, "cot", "n = 0 nodes"),
    ],
)
def test_input_that_has_no_trace_is_refused(edges, n, mode, told):
    with pytest.raises(TaskError, match=told):
        trace(edges, n, mode)


def test_the_model_is_graded_on_what_it_writes_itself(family):
    task = IsTree(TaskConfig(n=16, mode="rag", family=family))
    batch = task.sample(np.arange(40))
    for (sample, graded), prompt in zip(rows(task, batch), batch.prompt_len_B, strict=True):
        expected = [int(t >= prompt and sample[t - 1] != "[ENDSEARCH]") for t in range(len(sample))]
        assert graded == expected


def test_padding_is_neither_written_nor_graded():
    batch = IsTree(TaskConfig(n=16, mode="cot")).sample(np.arange(40))
    past_BxL = np.arange(batch.tokens_BxL.shape[1]) >= batch.length_B[:, None]
    assert past_BxL.any()
    assert not batch.tokens_BxL[past_BxL].any()
    assert batch.tokens_BxL[~past_BxL].all()
    assert not batch.loss_mask_BxL[past_BxL].any()


@pytest.mark.parametrize(("mode", "tree_length"), [("direct", (3, 0)), ("cot", (5, 0)), ("rag", (40, -25))])
def test_the_trace_of_every_tree_has_the_maximum_length_and_none_is_longer(mode, tree_length, family):
    slope, constant = tree_length
    for n in (4, 5, 6, 9, 16, 33, 128):
        task = IsTree(TaskConfig(n=n, mode=mode, family=family))
        batch = task.sample(np.arange(200))
        assert task.max_length == slope * n + constant
        assert set(batch.length_B[batch.answer_B == TRUE]) == {task.max_length}
        assert batch.length_B.max() == task.max_length


def test_a_batch_is_no_wider_than_its_longest_sample():
    task = IsTree(TaskConfig(n=16, mode="rag"))
    batch = task.sample(np.arange(60))
    others = np.flatnonzero(batch.answer_B == FALSE)
    short = task.sample(others[:3])
    assert short.tokens_BxL.shape[1] == short.length_B.max() < task.max_length


def test_an_empty_batch_can_be_sampled():
    assert IsTree(TaskConfig(n=16, mode="rag")).sample(np.arange(0)).tokens_BxL.shape[0] == 0


def test_a_batch_ends_with_its_answer_and_its_prompt_ends_where_it_says(mode, family):
    batch = IsTree(TaskConfig(n=20, mode=mode, family=family)).sample(np.arange(50))
    assert (batch.tokens_BxL[np.arange(50), batch.length_B - 1] == batch.answer_B).all()
    assert set(batch.prompt_len_B) == {3 * 20 - 1}
