import numpy as np
import pytest

from retrieval_gap.decoding.decode import decode
from retrieval_gap.decoding.retrieval import make_retriever
from retrieval_gap.tasks.api import TaskConfig
from retrieval_gap.tasks.istree import FAMILIES, IsTree, trace
from tests.theory.constructions.checks import assert_causal_and_stepwise, built, idle_share, is_exact, tokens_of

families = pytest.mark.parametrize("family", FAMILIES)


def test_traces_of_small_graphs_of_every_family_are_exact_token_for_token():
    for n in range(4, 17):
        construction, task = built("istree", n, "exact")
        gold = [IsTree(TaskConfig(n=n, mode="rag", family=name)).sample(np.arange(10)) for name in FAMILIES]
        width = max(batch.tokens_BxL.shape[1] for batch in gold)
        tokens_BxL = np.concatenate([np.pad(b.tokens_BxL, ((0, 0), (0, width - b.tokens_BxL.shape[1]))) for b in gold])
        decoded = decode(
            construction,
            tokens_BxL,
            np.concatenate([batch.prompt_len_B for batch in gold]),
            answers=task.answers,
            max_length=task.max_length,
            retriever=make_retriever(task),
        )
        assert (decoded.tokens_BxL[:, :width] == tokens_BxL).all(), f"n = {n}"
        assert (decoded.length_B == np.concatenate([batch.length_B for batch in gold])).all()


@families
def test_the_stated_precision_is_enough(family):
    assert is_exact(*built("istree", 12, family=family), samples=20)


def test_both_retrievers_lead_to_the_same_search():
    construction, task = built("istree", 8)
    assert is_exact(construction, task, 15, "fast")
    assert is_exact(construction, task, 15, "regex")


def test_nodes_may_have_names_from_a_larger_set():
    assert is_exact(*built("istree", 6, "exact", options="names=40"), samples=20)


@pytest.mark.parametrize(
    "edges",
    [
        [(5, 1), (4, 0), (4, 2), (5, 3), (2, 1)],  # a tree
        [(2, 0), (2, 1), (1, 0), (4, 3), (5, 4)],  # a triangle; the search meets the root again, which has no father
        [(4, 0), (4, 2), (3, 1), (5, 3), (5, 1)],  # the search ends in its own component
        [(2, 1), (3, 1), (4, 1), (5, 1), (3, 2)],  # the root has no edge
    ],
)
def test_chosen_graphs_get_the_exact_trace(edges):
    construction, task = built("istree", 6, "exact")
    tokens_L, _ = trace(edges, 6, "rag")
    prompt = 2 + 3 * len(edges)
    decoded = decode(
        construction,
        tokens_L[None],
        np.array([prompt], np.int32),
        answers=task.answers,
        max_length=task.max_length,
        retriever=make_retriever(task),
    )
    assert decoded.tokens_BxL[0, : decoded.length_B[0]].tolist() == tokens_L.tolist()


def test_state_grows_like_log_n_and_weights_not_at_all():
    small, large = (built("istree", n)[0] for n in (64, 1000))
    assert small.parameter_count() == large.parameter_count()
    assert large.state_bits(7) < 2 * small.state_bits(7)
    assert small.state_bits(100) == small.state_bits(1)


def test_most_weights_matter():
    construction, task = built("istree", 5, "exact")
    assert idle_share(construction, task, 6, every=17) < 0.4


def test_it_is_causal_and_steps_equal_the_forward_pass():
    construction, task = built("istree", 6)
    assert_causal_and_stepwise(construction, task, change=40)
    assert construction.forward(tokens_of(task, 3)).isfinite().all()
