"""Paths: the facts make two chains, walks follow them, and the question is a fair coin.

Axes: B samples, L positions.
"""

import itertools
import math
from collections import Counter

import networkx as nx
import numpy as np
import pytest

from retrieval_gap.tasks import plain
from retrieval_gap.tasks.api import TaskConfig, TaskError, answers_of
from retrieval_gap.tasks.find_path import FindPath
from tests.tasks.words import rows

VIEWS = [("direct", ""), ("cot", ""), ("rag", ""), ("rag", "calls=one")]
PATHS = [("direct", "ask=path"), ("rag", "ask=path"), ("rag", "ask=path calls=one")]


def make(n: int, mode: str = "direct", options: str = "", **settings: object) -> FindPath:
    return FindPath(TaskConfig(n=n, mode=mode, options=options, **settings))  # type: ignore[arg-type]


def graph_of(words: list[str]) -> nx.DiGraph:
    facts = words[1 : words.index("[EOS]")]
    assert set(facts[1::3]) == {">"}
    return nx.DiGraph(zip(facts[::3], facts[2::3], strict=True))


def without_searches(words: list[str], graded: list[int]) -> list[str]:
    """What stands in a trace behind its facts, searches written as the nodes that they found."""
    kept, inside = [], False
    for word in words[words.index("[EOS]") + 1 :]:
        inside = inside or word == "[STARTSEARCH]"
        if not inside and word != "[FAILED]":
            kept.append(word)
        inside = inside and word != "[ENDSEARCH]"
    assert len(graded) == len(words)
    return kept


@pytest.mark.parametrize(("mode", "options"), [*VIEWS, *PATHS])
@pytest.mark.parametrize("n", [4, 10, 64])
def test_facts_are_two_chains_in_any_order(mode, options, n):
    task = make(n, mode, f"names=100 {options}")
    for words, _ in rows(task, task.sample(np.arange(20))):
        graph = graph_of(words)
        assert len(graph) == n
        assert nx.is_directed_acyclic_graph(graph)
        parts = list(nx.weakly_connected_components(graph))
        assert sorted(map(len, parts)) == [n // 2, n // 2]
        assert max(degree for _, degree in graph.out_degree()) == max(degree for _, degree in graph.in_degree()) == 1


@pytest.mark.parametrize(("mode", "options"), VIEWS)
@pytest.mark.parametrize("n", [6, 10, 40])
def test_the_answer_is_networkxs_and_the_walk_goes_to_the_target_or_the_end(mode, options, n):
    task = make(n, mode, options)
    batch = task.sample(np.arange(100))
    for words, graded in rows(task, batch):
        graph, (start, target, *walk, answer) = graph_of(words), without_searches(words, graded)
        reached = nx.has_path(graph, start, target)
        assert answer == ("[TRUE]" if reached else "[FALSE]")
        if mode == "direct":
            assert walk == []
            continue
        chain = nx.descendants(graph, start)
        expected = (
            nx.shortest_path(graph, start, target)[1:] if reached else list(nx.dfs_preorder_nodes(graph, start))[1:]
        )
        assert walk == [*expected, "[EOS]"]
        assert set(expected) <= chain
        calls = {"cot": 0, "rag": 1 if "one" in options else len(expected) + (not reached)}[mode]
        assert words.count("[STARTSEARCH]") == calls


@pytest.mark.parametrize(("mode", "options"), PATHS)
def test_a_path_is_a_whole_chain_from_its_first_node(mode, options):
    task = make(12, mode, options)
    batch = task.sample(np.arange(50))
    assert (batch.length_B == task.max_length).all()
    assert answers_of(batch, task).shape == (50, 5)
    for words, graded in rows(task, batch):
        graph, (start, *written) = graph_of(words), without_searches(words, graded)
        nodes = [word.removeprefix("=") for word in written if word.startswith("=")]
        assert graph.in_degree(start) == 0
        assert nodes == list(nx.dfs_preorder_nodes(graph, start))[1:]


@pytest.mark.parametrize(("mode", "options"), [*VIEWS, *PATHS])
@pytest.mark.parametrize("n", [4, 6, 10])
def test_the_longest_trace_is_reached(mode, options, n):
    task = make(n, mode, options)
    assert task.sample(np.arange(600)).length_B.max() == task.max_length


@pytest.mark.parametrize(("mode", "options"), VIEWS[1:])
def test_every_view_shows_the_same_problems(mode, options):
    direct, other = make(14), make(14, mode, options)
    shown, searched = direct.sample(np.arange(30)), other.sample(np.arange(30))
    prompt = int(shown.prompt_len_B[0])
    assert (shown.tokens_BxL[:, :prompt] == searched.tokens_BxL[:, :prompt]).all()
    assert (shown.answer_B == searched.answer_B).all()


def test_the_answer_is_a_fair_coin_whatever_the_levels():
    task = make(10, "cot")
    batch = task.sample(np.arange(20_000))
    told = Counter()
    for words, _ in rows(task, batch):
        graph, (start, target) = graph_of(words), words[words.index("[EOS]") + 1 :][:2]
        levels = len(nx.ancestors(graph, start)), len(nx.ancestors(graph, target))
        told[levels, words[-1]] += 1
    pairs = list(itertools.combinations(range(5), 2))
    assert {levels for levels, _ in told} == set(pairs)
    expected = 20_000 / 2 / len(pairs)
    chi_square = sum((seen - expected) ** 2 / expected for seen in told.values())
    assert chi_square < 2 * len(pairs) + 4 * math.sqrt(4 * len(pairs))


def test_graphs_are_equally_likely_and_splits_share_none():
    drawn = {}
    for split in ("train", "validation", "test"):
        task = make(4, split=split)
        batch = task.sample(np.arange(4000))
        drawn[split] = Counter(frozenset(graph_of(words).edges) for words, _ in rows(task, batch))
    assert sum(map(len, drawn.values())) == len(set().union(*drawn.values())) == math.factorial(4) // 2
    for counts in drawn.values():
        expected = 4000 / len(counts)
        chi_square = sum((seen - expected) ** 2 / expected for seen in counts.values())
        assert chi_square < len(counts) + 4 * math.sqrt(2 * len(counts)) + 9


@pytest.mark.parametrize(("mode", "options"), [*VIEWS, *PATHS])
def test_the_plain_definition_draws_traces_by_the_same_law(mode, options):
    task = make(8, mode, options)
    given = dict(word.split("=") for word in options.split())
    random = np.random.default_rng(1)
    theirs = [plain.find_path(random, 8, mode, **given) for _ in range(4000)]
    ours = list(rows(task, task.sample(np.arange(4000))))

    def shape(words: list[str], graded: list[int]) -> tuple[object, ...]:
        ending = "" if options.startswith("ask") else words[-1]
        return len(words), tuple(map(int, graded)), words.count("[ENDSEARCH]"), ending

    counts = [Counter(shape(*trace) for trace in drawn) for drawn in (ours, theirs)]
    assert set(counts[0]) == set(counts[1])
    chi_square = sum((counts[0][k] - counts[1][k]) ** 2 / (counts[0][k] + counts[1][k]) for k in counts[0])
    assert chi_square < len(counts[0]) + 4 * math.sqrt(2 * len(counts[0])) + 9


def test_samples_are_pinned():
    """A change here changes every result: say so in the results."""
    task = make(8, options="names=12")
    words, _ = next(rows(task, task.sample(np.arange(1))))
    assert " ".join(words) == "[BOS] 0 > 4 8 > 10 2 > 7 11 > 0 4 > 1 10 > 2 [EOS] 11 7 [FALSE]"


@pytest.mark.parametrize(
    ("n", "mode", "options", "told"),
    [
        (7, "direct", "", "--n-nodes 7 is odd"),
        (5000, "direct", "", r"n = 5000 is outside 4\.\.4096 \(--n-nodes\)"),
        (8, "direct", "names=7", r"--names 7 is outside 8\.\.4096"),
        (8, "direct", "ask=why", "unknown ask 'why'"),
        (8, "rag", "calls=two", r"unknown calls 'two' \(choose from many, one\)"),
        (8, "cot", "ask=path", "choose mode direct or rag"),
    ],
)
def test_what_the_task_does_not_allow_is_told_in_one_line(n, mode, options, told):
    with pytest.raises(TaskError, match=told) as refused:
        make(n, mode, options)
    assert "\n" not in str(refused.value)
