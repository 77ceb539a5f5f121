"""One IsTree problem's views as the task writes them, and the places of its searches and of what they find."""

import re
from dataclasses import dataclass
from functools import cached_property

from retrieval_gap.tasks.api import ENDSEARCH, STARTSEARCH, Mode, TaskConfig
from retrieval_gap.tasks.istree import IsTree, trace

Edges = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class SearchLine:
    """A search for an edge, as places in the trace: `query` is what is between its brackets, `edge` what it finds,
    `result` the retriever's token."""

    query: range
    edge: range
    result: int


@dataclass(frozen=True)
class TraceView:
    """One view of a graph on n nodes.  Places count the trace's tokens from 0."""

    edges: Edges
    n: int
    mode: Mode

    @cached_property
    def task(self) -> IsTree:
        return IsTree(TaskConfig(n=self.n, mode=self.mode))

    @cached_property
    def words(self) -> list[str]:
        """The tokens' spellings."""
        return [self.task.vocabulary[token] for token in trace(self.edges, self.n, self.mode)[0]]

    @cached_property
    def written(self) -> list[bool]:
        """Whether the model writes a token: the prompt is given, and the retriever adds what it finds."""
        return [bool(graded) for graded in trace(self.edges, self.n, self.mode)[1]]

    @cached_property
    def prompt(self) -> range:
        return range(self.written.index(True))

    @cached_property
    def results(self) -> list[int]:
        """Places of the retriever's tokens, one for each search."""
        return [t for t in range(len(self.prompt), len(self.words)) if not self.written[t]]

    def begins_query(self, t: int) -> bool:
        return self.words[t - 1] == self.task.vocabulary[STARTSEARCH]

    def ends_query(self, t: int) -> bool:
        """Whether the query ends before place t."""
        return self.words[t] == self.task.vocabulary[ENDSEARCH]

    def search(self, number: int) -> SearchLine:
        """A search that finds an edge, by the task's own pattern.  Raises ValueError for one that fails."""
        result = self.results[number]
        first = max(t for t in range(result) if self.begins_query(t))
        query = range(first, result - 1)
        pattern = self.task.search_pattern(self.words[first : result - 1])
        match = re.search(pattern or "$.", " ".join(self.words[: first - 1]))
        if match is None or match.lastindex is None:
            raise ValueError(f"search {number} of {self} finds nothing")
        node = match.string.count(" ", 0, match.start(match.lastindex))
        edge = node - (node - 1) % 3  # `[BOS]`, then three tokens an edge
        return SearchLine(query, range(edge, edge + 3), result)

    def lines(self, searches: int) -> list[list[int]]:
        """Places of the first searches: a new line at each visit of a node, and after two searches."""
        lines: list[list[int]] = []
        for t in range(len(self.prompt), self.results[searches - 1] + 1):
            visit = self.written[t] and self.words[t].isdecimal() and self.begins_query(t + 2)
            if not lines or visit or len(set(lines[-1]) & set(self.results)) == 2:
                lines.append([])
            lines[-1].append(t)
        return lines
