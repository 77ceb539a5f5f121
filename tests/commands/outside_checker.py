"""Checks what `retrieval-gap sample istree --format jsonl` prints, line by line; shares no code with this project.

    retrieval-gap sample istree --mode rag --n-nodes 24 --format jsonl | python tests/commands/outside_checker.py rag 24

Written from the description of the format alone, with the standard library, and networkx for the label.
"""

import json
import re
import sys
from collections.abc import Iterable, Iterator

import networkx as nx

Edges = list[list[int]]


def neighbours(edges: Edges, v: int) -> list[int]:
    """The neighbours of v, in the order of its edges in the input."""
    return [a if b == v else b for a, b in edges if v in (a, b)]


def tour(edges: Edges) -> tuple[list[int], bool]:
    """The nodes that a depth-first search from 0 writes, and whether it finished (a cycle stops it)."""
    written, fathers = [0], {0: -1}
    stack = [(0, iter(neighbours(edges, 0)))]
    while stack:
        v, rest = stack[-1]
        for w in rest:
            if w == fathers[v]:
                continue
            if w in fathers:
                return written, False
            fathers[w] = v
            written.append(w)
            stack.append((w, iter(neighbours(edges, w))))
            break
        else:
            stack.pop()
            if stack:
                written.append(stack[-1][0])
    return written, True


def searches(words: list[str]) -> Iterator[tuple[list[str], list[str], str]]:
    """(text before, query, result) of every search of a trace."""
    start = -1
    for i, word in enumerate(words):
        if word == "[STARTSEARCH]":
            start = i
        elif word == "[ENDSEARCH]":
            yield words[:start], words[start + 1 : i], words[i + 1]


def answer_of(before: list[str], query: list[str], edges: Edges) -> str:
    """The result that a search of the context must have."""
    v = query[0]
    if query[1:] == ["~"]:
        found = re.search(rf"(?:^| ){v} ~ (\d+)(?: |$)", " ".join(before))
        return found.group(1) if found else "[FAILED]"
    near = neighbours(edges, int(v))
    if query[1:] == ["-"]:
        return str(near[0]) if near else "[FAILED]"
    position = near.index(int(query[2])) + 1
    return str(near[position]) if position < len(near) else "[FAILED]"


def check(record: dict, mode: str, n: int, names: int = 0) -> None:
    """Raises AssertionError at the first difference from the description.  names: how many node names, if over n."""
    edges, target, mask = record["edges"], record["target"], record["loss_mask"]
    assert len(edges) == n - 1
    assert all(0 <= v < u < (names or n) for u, v in edges), "larger node first"
    assert len({tuple(edge) for edge in edges}) == n - 1
    words = [word for u, v in edges for word in (str(u), "-", str(v))]
    assert record["prompt"] == ["[BOS]", *words, "[EOS]"]
    graph = nx.Graph(edges)
    graph.add_nodes_from([0] if names else range(n))
    assert record["answer"] == ("TRUE" if nx.is_tree(graph) else "FALSE")
    assert target[-1] == f"[{record['answer']}]"
    after_search = [i > 0 and target[i - 1] == "[ENDSEARCH]" for i in range(len(target))]
    assert mask == [0 if hidden else 1 for hidden in after_search]
    nodes, finished = tour(edges)
    assert finished or record["answer"] == "FALSE"
    if mode == "direct":
        assert len(target) == 1
    elif mode == "cot":
        assert target == [*map(str, nodes), "[EOS]", target[-1]]
    else:
        assert target[-2] == "[EOS]"
        for before, query, result in searches(record["prompt"] + target):
            assert answer_of(before, query, edges) == result, (query, result)
        opened = [target[i] for i in range(len(target)) if is_visit(target, i)]
        assert opened == [str(v) for v in nodes], "the visits of rag are the tour of cot"


def is_visit(target: list[str], i: int) -> bool:
    """A visit opens with `v [STARTSEARCH] v ~`."""
    here = target[i : i + 4]
    opens = len(here) == 4 and here[0] == here[2] and here[1] == "[STARTSEARCH]" and here[3] == "~"
    return opens and not (i and target[i - 1] == "[ENDSEARCH]")


def check_lines(lines: Iterable[str], mode: str, n: int, names: int = 0) -> int:
    """How many records were read; raises AssertionError at the first wrong one."""
    count = 0
    for count, line in enumerate(lines, 1):
        record = json.loads(line)
        assert record["index"] == count - 1
        check(record, mode, n, names)
    return count


if __name__ == "__main__":
    print(f"{check_lines(sys.stdin, sys.argv[1], *map(int, sys.argv[2:]))} records are as described")
