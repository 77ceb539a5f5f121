"""Samples are pure functions of their number, splits are disjoint, labels fair, and degrees say little.

Axes: B samples, L positions.
"""

import itertools
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import networkx as nx
import numpy as np
import pytest

from retrieval_gap.tasks.api import TRUE, Batch, TaskConfig, TaskError
from retrieval_gap.tasks.istree import IsTree
from retrieval_gap.tasks.istree.statistics import degree_accuracy, degrees, shape, total_variation
from tests.tasks.words import spell

ARRAYS = ("tokens_BxL", "loss_mask_BxL", "prompt_len_B", "length_B", "answer_B")
GOLDEN = {
    "two_star": "[BOS] 5 - 3 4 - 2 4 - 3 1 - 0 5 - 4 [EOS] [FALSE]",
    "random_tree": "[BOS] 4 - 3 3 - 0 4 - 0 4 - 1 5 - 2 [EOS] [FALSE]",
    "path_like": "[BOS] 5 - 2 2 - 1 2 - 0 4 - 3 5 - 1 [EOS] [FALSE]",
}


def graphs(task: IsTree, count: int) -> list[frozenset[tuple[int, int]]]:
    """Edge sets of the first samples, blind to the order of edges and of their ends."""
    return [frozenset(task.edges(row_L)) for row_L in task.sample(np.arange(count)).tokens_BxL]


def sample_of(batch: Batch, b: int) -> list[object]:
    length = int(batch.length_B[b])
    return [
        batch.tokens_BxL[b, :length].tolist(),
        batch.loss_mask_BxL[b, :length].tolist(),
        *(int(getattr(batch, name)[b]) for name in ARRAYS[2:]),
    ]


def test_samples_are_pinned(family):
    """A change here changes every result: say so in the results, and in the name of the data."""
    task = IsTree(TaskConfig(n=6, family=family))
    assert " ".join(spell(task, task.sample(np.arange(1)).tokens_BxL[0])) == GOLDEN[family]


def test_a_sample_does_not_depend_on_its_batch(family, mode):
    task = IsTree(TaskConfig(n=12, mode=mode, family=family, seed=3))
    index_B = np.array([5, 0, 2**40, 17, 5])
    together = task.sample(index_B)
    for b, index in enumerate(index_B):
        alone = IsTree(task.config).sample(np.array([index]))
        assert sample_of(alone, 0) == sample_of(together, b)


def test_threads_that_sample_at_once_do_not_meet():
    task = IsTree(TaskConfig(n=64, mode="rag", family="random_tree"))
    parts = np.split(np.arange(800), 8)
    with ThreadPoolExecutor(2) as pool:
        batches = list(pool.map(task.sample, parts))
    for part, batch in zip(parts, batches, strict=True):
        again = task.sample(part)
        assert all(np.array_equal(getattr(batch, name), getattr(again, name)) for name in ARRAYS)


def test_the_views_show_the_same_problem(family):
    prompts = []
    for mode in ("direct", "cot", "rag"):
        batch = IsTree(TaskConfig(n=16, mode=mode, family=family)).sample(np.arange(20))
        prompts.append((batch.tokens_BxL[:, : 3 * 16 - 1].tolist(), batch.answer_B.tolist()))
    assert prompts[0] == prompts[1] == prompts[2]


def test_seeds_and_splits_and_numbers_give_different_samples(family):
    configs = [TaskConfig(n=16, family=family, seed=s, split=p) for s in (0, 1) for p in ("train", "test")]
    assert len({g for config in configs for g in graphs(IsTree(config), 50)}) == 200


@pytest.mark.parametrize("n", [4, 5, 6])
def test_no_graph_is_in_two_splits_even_if_all_graphs_are_drawn(n, family):
    seen = [
        set(graphs(IsTree(TaskConfig(n=n, family=family, split=split)), 3000))
        for split in ("train", "validation", "test")
    ]
    assert all(not a & b for a, b in itertools.combinations(seen, 2))
    if n == 4:
        assert [len(split) for split in seen] == [8, 4, 4] if family == "two_star" else [10, 5, 5]


def test_families_share_their_splits():
    """The same graph drawn from another family is in the same split."""
    trained = set(graphs(IsTree(TaskConfig(n=5, family="path_like")), 1000))
    tested = set(graphs(IsTree(TaskConfig(n=5, family="random_tree", split="test")), 1000))
    assert trained
    assert not trained & tested


def test_every_size_has_both_labels_in_every_split(family, split):
    for n in range(4, 129):
        answers = IsTree(TaskConfig(n=n, family=family, split=split)).sample(np.arange(24)).answer_B
        assert 0 < (answers == TRUE).sum() < 24


def test_labels_are_a_fair_coin(family, split):
    for n in (4, 5, 16, 64):
        batch = IsTree(TaskConfig(n=n, family=family, split=split)).sample(np.arange(10_000))
        assert abs((batch.answer_B == TRUE).mean() - 0.5) < 0.0165  # 3.3 standard deviations


def test_a_graph_has_one_edge_fewer_than_nodes_and_no_edge_twice(family):
    for n in (4, 5, 17, 128):
        assert {len(graph) for graph in graphs(IsTree(TaskConfig(n=n, family=family)), 200)} == {n - 1}


def test_two_stars_are_two_centres_and_one_edge_between_leaves():
    """Without one of the edges, every other node is joined to one of two centres."""
    for graph in graphs(IsTree(TaskConfig(n=9, family="two_star")), 200):
        assert any(is_two_stars(graph - {edge}, 9) for edge in graph)


def is_two_stars(edges: frozenset[tuple[int, int]], n: int) -> bool:
    return any(
        all((u in centres) != (v in centres) for u, v in edges)
        and len({v for edge in edges for v in edge if v not in centres}) == n - 2 == len(edges)
        for centres in map(set, itertools.combinations(range(n), 2))
    )


@pytest.mark.parametrize("n", [4, 5])
def test_trees_of_random_tree_are_uniform_among_all_labelled_trees(n):
    """All n^(n-2) labelled trees (Cayley) are equally frequent, by chi-square within each split, summed over splits."""
    chi_square, freedom, kinds = 0.0, 0, 0
    for split in ("train", "validation", "test"):
        task = IsTree(TaskConfig(n=n, family="random_tree", split=split))
        counts = Counter(g for g in graphs(task, 12_000) if nx.is_tree(nx.Graph(list(g))) and len(nodes(g)) == n)
        expected = sum(counts.values()) / len(counts)
        chi_square += sum((count - expected) ** 2 / expected for count in counts.values())
        freedom += len(counts) - 1
        kinds += len(counts)
    assert kinds == n ** (n - 2)
    assert chi_square < freedom + 3.5 * np.sqrt(2 * freedom)


def nodes(graph: frozenset[tuple[int, int]]) -> set[int]:
    return {v for edge in graph for v in edge}


def test_path_like_graphs_have_bounded_degree_and_deep_searches():
    degree_BxN, _ = degrees(TaskConfig(n=64, family="path_like"), 0, 2000)
    assert degree_BxN.max() == 3
    assert shape(TaskConfig(n=64, family="path_like"), 300)["depth"] > 64 / 3


@pytest.mark.parametrize("family", ["random_tree", "path_like"])
def test_from_5_nodes_on_no_node_is_isolated(family):
    for n in (5, 6, 16, 64):
        degree_BxN, _ = degrees(TaskConfig(n=n, family=family), 0, 2000)
        assert degree_BxN.min() == 1


@pytest.mark.parametrize("family", ["random_tree", "path_like"])
def test_degrees_do_not_tell_the_label(family):
    """The bound is 3.3 standard deviations above a coin."""
    for n in (16, 64):
        assert degree_accuracy(TaskConfig(n=n, family=family), 20_000) < 0.5 + 0.0117


def test_degrees_tell_a_little_of_the_label_of_two_stars():
    """This is known of the released family: a cut leaves two leaves on one star."""
    assert 0.52 < degree_accuracy(TaskConfig(n=16, family="two_star"), 20_000) < 0.56


@pytest.mark.parametrize(("n", "bound"), [(6, 0.2), (7, 0.1), (8, 0.06)])
def test_the_distance_between_the_degrees_of_the_two_labels_shrinks_with_n(n, bound):
    assert total_variation(TaskConfig(n=n, family="random_tree"), 100_000) < bound


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"n": 3}, "istree: n = 3 is outside 4..1024"),
        ({"family": "twostar"}, "unknown family 'twostar' .* did you mean 'two_star'"),
        ({"mode": "ragg"}, "unknown mode 'ragg' .* did you mean 'rag'"),
        ({"split": "valid"}, "unknown split 'valid'"),
        ({"seed": -1}, "seed = -1 is outside"),
    ],
)
def test_a_wrong_configuration_is_refused_with_what_to_change(wrong, message):
    with pytest.raises(TaskError, match=message) as refused:
        IsTree(TaskConfig(**{"n": 16, **wrong}))
    assert "\n" not in str(refused.value)


def test_the_largest_graphs_can_be_drawn(family):
    task = IsTree(TaskConfig(n=1024, mode="rag", family=family))
    batch = task.sample(np.arange(4))
    assert batch.length_B.max() <= task.max_length == 40 * 1024 - 25
