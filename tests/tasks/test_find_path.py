"""In find_path the facts make two chains with dead ends, walks search them, and the answer is a fair coin.

Axes: B samples, L positions.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable

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
    """The words of a trace after its facts, with each search replaced by the node that it found."""
    kept, inside = [], False
    for word in words[words.index("[EOS]") + 1 :]:
        inside = inside or word == "[STARTSEARCH]"
        if not inside and word != "[FAILED]":
            kept.append(word)
        inside = inside and word != "[ENDSEARCH]"
    assert len(graded) == len(words)
    return kept


def visits(graph: nx.DiGraph, start: str, target: str) -> list[str]:
    """The nodes that a depth-first search meets after the start, up to the target, children in the order of their
    facts.  It ends once all children of a node are dead ends."""
    met, node, children = [], start, list(graph.successors(start))
    while children:
        met.append(children.pop(0))
        if met[-1] == target:
            break
        if graph.out_degree(met[-1]):
            node = met[-1]
            children = list(graph.successors(node))
    return met


@pytest.mark.parametrize(("mode", "options"), [*VIEWS, *PATHS])
@pytest.mark.parametrize("n", [10, 26, 64])
def test_facts_are_two_chains_with_dead_ends_in_any_order(mode, options, n):
    task = make(n, mode, f"names=100 {options}")
    forks = Counter()
    for words, _ in rows(task, task.sample(np.arange(20))):
        graph = graph_of(words)
        assert len(graph) == n
        assert graph.number_of_edges() == n - 2
        parts = list(nx.weakly_connected_components(graph))
        assert sorted(map(len, parts)) == [n // 2, n // 2]
        for part in map(graph.subgraph, parts):
            assert nx.is_tree(part.to_undirected())
            assert nx.dag_longest_path_length(part) >= task.links
        forks["out"] += sum(degree == 2 for _, degree in graph.out_degree())
        forks["in"] += sum(degree == 2 for _, degree in graph.in_degree())
        assert max(degree for _, degree in [*graph.out_degree(), *graph.in_degree()]) <= 2
    assert min(forks.values()) > 20


def test_both_chains_have_one_shape():
    task = make(16)
    for words, _ in rows(task, task.sample(np.arange(50))):
        one, other = (graph_of(words).subgraph(part) for part in nx.weakly_connected_components(graph_of(words)))
        assert nx.is_isomorphic(one, other)


@pytest.mark.parametrize(("n", "most"), [(10, 0.85), (40, 0.35), (100, 0.15)])
def test_a_walk_along_the_first_facts_or_against_them_rarely_meets_the_target(n, most):
    """A walk that takes the first fact at each fork soon ends in a dead end, in either direction."""
    task = make(n)
    forward = backward = reached = 0
    for words, _ in rows(task, task.sample(np.arange(400))):
        graph, (start, target) = graph_of(words), words[words.index("[EOS]") + 1 :][:2]
        if not nx.has_path(graph, start, target):
            continue
        reached += 1
        forward += first_edges_lead(graph.successors, start, target)
        backward += first_edges_lead(graph.predecessors, target, start)
    assert reached > 100
    assert forward / reached < most
    assert backward / reached < most


def first_edges_lead(following: Callable[[str], Iterable[str]], start: str, target: str) -> bool:
    node: str | None = start
    while node is not None and node != target:
        node = next(iter(following(node)), None)
    return node == target


@pytest.mark.parametrize(("mode", "options"), VIEWS)
@pytest.mark.parametrize("n", [6, 10, 40])
def test_the_answer_is_networkxs_and_the_walk_is_a_depth_first_search(mode, options, n):
    task = make(n, mode, options)
    batch = task.sample(np.arange(100))
    for words, graded in rows(task, batch):
        graph, (start, target, *walk, answer) = graph_of(words), without_searches(words, graded)
        assert answer == ("[TRUE]" if nx.has_path(graph, start, target) else "[FALSE]")
        if mode == "direct":
            assert walk == []
            continue
        assert walk == [*visits(graph, start, target), "[EOS]"]
        found = [words[i + 1] for i, word in enumerate(words) if word == "[ENDSEARCH]"]
        searched = {"cot": [], "rag": walk[:1] if options else walk[:-1]}[mode]
        assert [word for word in found if word != "[FAILED]"] == searched


@pytest.mark.parametrize(("mode", "options"), PATHS)
def test_a_path_is_the_nodes_between_the_ends_of_a_chain(mode, options):
    task = make(24, mode, options)
    batch = task.sample(np.arange(50))
    assert answers_of(batch, task).shape == (50, 3)
    for words, graded in rows(task, batch):
        graph, (start, target, *written) = graph_of(words), without_searches(words, graded)
        nodes = [word.removeprefix("=") for word in written if word.startswith("=")]
        assert nodes == nx.shortest_path(graph, start, target)[1:-1]


@pytest.mark.parametrize(
    ("n", "mode", "options"),
    [(n, *view) for n in (6, 8, 10, 12) for view in [*VIEWS, *(PATHS if n >= 10 else ())]],
)
def test_the_longest_trace_is_reached(n, mode, options):
    task = make(n, mode, options)
    assert task.sample(np.arange(3000)).length_B.max() == task.max_length


@pytest.mark.parametrize(("mode", "options"), VIEWS[1:])
def test_every_view_shows_the_same_problems(mode, options):
    direct, other = make(14), make(14, mode, options)
    shown, searched = direct.sample(np.arange(30)), other.sample(np.arange(30))
    prompt = int(shown.prompt_len_B[0])
    assert (shown.tokens_BxL[:, :prompt] == searched.tokens_BxL[:, :prompt]).all()
    assert (shown.answer_B == searched.answer_B).all()


def test_the_answer_is_a_fair_coin_wherever_the_target_is():
    task = make(20, "cot")
    told = Counter()
    for words, _ in rows(task, task.sample(np.arange(6_000))):
        graph, (start, target) = graph_of(words), words[words.index("[EOS]") + 1 :][:2]
        before = graph.subgraph(nx.ancestors(graph, target) | {target})
        if words[-1] == "[TRUE]":
            told["apart", nx.shortest_path_length(graph, start, target)] += 1
        told[words[-1], nx.dag_longest_path_length(before)] += 1
    assert {apart for kind, apart in told if kind == "apart"} == {1, 2, 3}
    places = sorted({place for kind, place in told if kind != "apart"})
    for answers in ([told["[TRUE]", place], told["[FALSE]", place]] for place in places):
        assert abs(answers[0] - answers[1]) < 4 * math.sqrt(sum(answers))
    assert max(abs(told["apart", k] - 1_000) for k in (1, 2, 3)) < 4 * math.sqrt(1_000)


def test_graphs_are_equally_likely_and_splits_share_none():
    """Of six nodes: each chain has two starts or two ends, and names are in any order."""
    drawn = {}
    for split in ("train", "validation", "test"):
        task = make(6, split=split)
        batch = task.sample(np.arange(8000))
        drawn[split] = Counter(frozenset(graph_of(words).edges) for words, _ in rows(task, batch))
    assert sum(map(len, drawn.values())) == len(set().union(*drawn.values())) == 2 * math.factorial(6) // 2**3
    for counts in drawn.values():
        expected = 8000 / len(counts)
        chi_square = sum((seen - expected) ** 2 / expected for seen in counts.values())
        assert chi_square < len(counts) + 4 * math.sqrt(2 * len(counts)) + 9


@pytest.mark.parametrize(("mode", "options"), [*VIEWS, *PATHS])
def test_the_plain_definition_draws_traces_by_the_same_law(mode, options):
    task = make(12, mode, options)
    given = dict(word.split("=") for word in options.split())
    random = np.random.default_rng(1)
    theirs = [plain.find_path(random, 12, mode, **given) for _ in range(4000)]
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
    assert " ".join(words) == "[BOS] 3 > 2 11 > 8 6 > 8 9 > 2 9 > 1 6 > 4 [EOS] 9 8 [FALSE]"


@pytest.mark.parametrize(
    ("n", "mode", "options", "told"),
    [
        (7, "direct", "", "--n-nodes 7 is odd"),
        (5000, "direct", "", r"n = 5000 is outside 6\.\.4096 \(--n-nodes\)"),
        (8, "direct", "names=7", r"--names 7 is outside 8\.\.4096"),
        (8, "direct", "ask=why", "unknown ask 'why'"),
        (8, "rag", "calls=two", r"unknown calls 'two' \(choose from many, one\)"),
        (12, "cot", "ask=path", "choose mode direct or rag"),
        (8, "rag", "ask=path", "wants --n-nodes 10 or more"),
        (4, "rag", "", r"n = 4 is outside 6\.\.4096"),
    ],
)
def test_a_bad_configuration_is_refused_in_one_line(n, mode, options, told):
    with pytest.raises(TaskError, match=told) as refused:
        make(n, mode, options)
    assert "\n" not in str(refused.value)
