"""IsTree written a second time, in plain Python and from the format's description alone.

The oracle of the tests, and the tracer that benchmarks compare with.  It shares no code with the rest of the
package and spells tokens as strings.  It recurses once per level, so graphs of more than about 900 nodes can
be too deep for it.
"""

from collections.abc import Sequence

import networkx as nx

Edges = Sequence[tuple[int, int]]


def is_tree(edges: Edges, n: int) -> bool:
    graph = nx.Graph()
    graph.add_nodes_from(range(n))
    graph.add_edges_from(edges)
    return bool(nx.is_tree(graph))


def trace(edges: Edges, n: int, mode: str) -> tuple[list[str], list[int]]:
    """All tokens of a graph's trace, and 1 for each that a model is graded on."""
    prompt = ["[BOS]"]
    neighbours: list[list[int]] = [[] for _ in range(n)]
    for u, v in edges:
        prompt += [str(max(u, v)), "-", str(min(u, v))]
        neighbours[u].append(v)
        neighbours[v].append(u)
    prompt += ["[EOS]"]
    search = _Talk(neighbours) if mode == "rag" else _Tour(neighbours)
    closed = search.enter(0, None)
    answer = "[TRUE]" if closed and len(search.fathers) == n else "[FALSE]"
    if mode == "direct":
        return [*prompt, answer], [0] * len(prompt) + [1]
    graded = search.graded if isinstance(search, _Talk) else [1] * len(search.words)
    return [*prompt, *search.words, "[EOS]", answer], [0] * len(prompt) + graded + [1, 1]


class _Tour:
    """A recursive depth-first search that writes a node when it enters it and at each return."""

    def __init__(self, neighbours: list[list[int]]) -> None:
        self.neighbours = neighbours
        self.fathers: dict[int, int | None] = {}
        self.words: list[str] = []

    def enter(self, v: int, father: int | None) -> bool:
        """Search below v; false if that reaches a visited node."""
        self.fathers[v] = father
        self.words.append(str(v))
        for w in self.neighbours[v]:
            if w == father:
                continue
            if w in self.fathers or not self.enter(w, v):
                return False
            self.words.append(str(v))
        return True


class _Talk(_Tour):
    """The same search, asking a retriever for every step; the retriever's results are not graded."""

    def __init__(self, neighbours: list[list[int]]) -> None:
        super().__init__(neighbours)
        self.graded: list[int] = []

    def enter(self, v: int, father: int | None) -> bool:
        self.fathers[v] = father
        edges = iter(self.neighbours[v])
        returned_from = None
        while True:
            self._say(v)
            self._ask(v, "~", answer=father)
            w = next(edges, None)
            self._ask(v, "-", returned_from, answer=w)
            if w is not None and w == father:
                w = next(edges, None)
                self._ask(v, "-", father, answer=w)
            if w is None:
                return True
            self._ask(w, "~", answer=self.fathers.get(w))
            if w in self.fathers:
                return False
            self._say(w, "~", v)
            if not self.enter(w, v):
                return False
            returned_from = w

    def _say(self, *words: int | str) -> None:
        self.words += [str(word) for word in words]
        self.graded += [1] * len(words)

    def _ask(self, *query: int | str | None, answer: int | None) -> None:
        self._say("[STARTSEARCH]", *(word for word in query if word is not None), "[ENDSEARCH]")
        self.words.append("[FAILED]" if answer is None else str(answer))
        self.graded.append(0)
