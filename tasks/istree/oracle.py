"""IsTree written a second time, in plain Python and from the format's description alone.

The oracle of the tests, and the tracer that benchmarks compare with.  It shares no code with the rest of the
package and spells tokens as strings.  It recurses once a level, so graphs of more than some 900 nodes can be
too deep for it.
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
    search = _Search(neighbours)
    answer = "[TRUE]" if search.enter(0, None) and len(search.fathers) == n else "[FALSE]"
    steps = {"direct": [], "cot": search.tour, "rag": search.talk}[mode]
    end = [] if mode == "direct" else ["[EOS]"]
    tokens = [*prompt, *(word for word, _ in steps), *end, answer]
    graded = [*(0 for _ in prompt), *(1 - given for _, given in steps), *(1 for _ in end), 1]
    return tokens, graded


class _Search:
    """A recursive depth-first search; it keeps its tour and its talk with a retriever as pairs (word, given).

    `given` is 1 for what the retriever says.
    """

    def __init__(self, neighbours: list[list[int]]) -> None:
        self.neighbours = neighbours
        self.fathers: dict[int, int | None] = {}
        self.tour: list[tuple[str, int]] = []
        self.talk: list[tuple[str, int]] = []

    def enter(self, v: int, father: int | None) -> bool:
        """Search below v; false where that met a visited node."""
        self.fathers[v] = father
        edges = iter(self.neighbours[v])
        returned_from = None
        while True:
            self.tour.append((str(v), 0))
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
        self.talk += [(str(word), 0) for word in words]

    def _ask(self, *query: int | str | None, answer: int | None) -> None:
        self._say("[STARTSEARCH]", *(word for word in query if word is not None), "[ENDSEARCH]")
        self.talk.append(("[FAILED]" if answer is None else str(answer), 1))
