"""Checks what `retrieval-gap sample TASK --format jsonl` prints of position_retrieval, last_write, word_problem and
find_path; shares no code with this project.

    retrieval-gap sample word_problem --group S5 --length 32 --count 1000 --format jsonl |
        python tests/commands/outside_checker_card.py word_problem direct 32 group=S5

Written from the description of the formats alone, with the standard library.  Options follow as `group=S5`.
"""

import json
import re
import sys
from collections.abc import Callable, Iterable

Options = dict[str, str]


def found(before: list[str], query: list[str]) -> str:
    """What Python's `re` finds in the text before the query; the pieces of the query make one pattern."""
    match = re.search("".join(query), " ".join(before))
    return next((group for group in match.groups() if group), "[FAILED]") if match else "[FAILED]"


def check_searches(words: list[str], graded: list[int]) -> list[str]:
    """Runs every search of a trace on the text before it; the results, in order.  They carry no loss."""
    results, start = [], -1
    for i, word in enumerate(words):
        if word == "[STARTSEARCH]":
            start = i
        elif word == "[ENDSEARCH]":
            assert found(words[:start], words[start + 1 : i]) == words[i + 1]
            assert not graded[i + 1]
            results.append(words[i + 1])
    return results


def without_searches(words: list[str]) -> list[str]:
    """The words outside the searches and their results."""
    kept, skip = [], 0
    for i, word in enumerate(words):
        if word == "[STARTSEARCH]":
            skip = words.index("[ENDSEARCH]", i) + 2
        if i >= skip:
            kept.append(word)
    return kept


def position_retrieval(record: dict, mode: str, n: int, options: Options) -> None:
    """The answer is the position of the token in a permutation; each search halves the positions that are left."""
    prompt = record["prompt"]
    if options.get("query") == "first":
        prompt = ["[BOS]", *prompt[2:], prompt[1]]
    sequence, asked = prompt[1 : n + 1], prompt[n + 2]
    assert (prompt[0], prompt[n + 1], len(prompt)) == ("[BOS]", "[EOS]", n + 3)
    assert len(set(sequence)) == n
    assert record["answer"] == str(sequence.index(asked) + 1)
    written = without_searches(record["target"])
    assert written == (["[EOS]"] if mode == "rag" else []) + [record["answer"]]
    assert record["target"].count("[ENDSEARCH]") == (len(bin(n - 1)) - 2 if mode == "rag" else 0)


def last_write(record: dict, mode: str, n: int, options: Options) -> None:
    """The answer is the value in a dictionary that takes the assignments in order."""
    prompt = record["prompt"]
    assert (prompt[0], prompt[n + 1], len(prompt)) == ("[BOS]", "[EOS]", n + 3)
    held = dict(zip(prompt[1 : n + 1 : 2], prompt[2 : n + 1 : 2], strict=True))
    assert len(held) == int(options.get("variables", min(8, n // 2)))
    assert record["answer"] == held[prompt[n + 2]]
    assert without_searches(record["target"]) == (["[EOS]"] if mode == "rag" else []) + [record["answer"]]
    assert record["target"].count("[ENDSEARCH]") == (mode == "rag")


def moved(points: str, element: str, group: str) -> str:
    """The points after an element acts on them: a permutation moves them, a number is added modulo m."""
    if group[0] == "Z":
        return str((int(points) + int(element)) % int(group[1:]))
    return "".join(element[int(point) - 1] for point in points)


def word_problem(record: dict, mode: str, n: int, options: Options) -> None:
    """Multiplies the elements one by one, by moving points; checks the elements, the words and what is graded."""
    group = options.get("group", "S3")
    each = options.get("ask") == "each"
    words = record["prompt"] + record["target"]
    elements = words[1 : 2 * n : 2] if each else words[1 : n + 1]
    product = "0" if group[0] == "Z" else "12345"[: int(group[1:])]
    products = []
    for element in elements:
        assert group[0] == "Z" or sorted(element) == sorted(product)
        swaps = sum(a > b for i, a in enumerate(element) for b in element[i + 1 :])
        assert group[0] != "A" or swaps % 2 == 0
        assert options.get("elements") != "generators" or group[0] != "S" or swaps <= 1
        product = moved(product, element, group)
        products.append(product)
    answers = ["=" + told for told in (products if each else products[-1:])]
    if each:
        assert words == ["[BOS]", *(word for pair in zip(elements, answers, strict=True) for word in pair)]
    else:
        assert words == ["[BOS]", *elements, "[EOS]", *([*products, "[EOS]"] if mode == "cot" else []), *answers]
    assert record["answer"] == " ".join(answers)
    graded = [0] * len(record["prompt"]) + record["loss_mask"]
    asked = range(2, 2 * n + 1, 2) if each else range(n + 2, len(words))
    assert [i for i, on in enumerate(graded) if on] == list(asked)


def find_path(record: dict, mode: str, n: int, options: Options) -> None:
    """The answer says whether the facts join the two nodes; searches and thoughts are those of a depth-first search."""
    prompt, target = record["prompt"], record["target"]
    end = prompt.index("[EOS]")
    facts = list(zip(prompt[1:end:3], prompt[3:end:3], strict=True))
    following = {node: [b for a, b in facts if a == node] for fact in facts for node in fact}
    assert (len(facts), len(following), end, len(prompt)) == (n - 2, n, 3 * (n - 2) + 1, end + 3)
    first, sought = prompt[end + 1 :]
    paths, stack = {first: [first]}, [first]
    while stack:
        node = stack.pop()
        for child in following[node]:
            paths[child] = [*paths[node], child]
            stack.append(child)
    results = [target[i + 1] for i, word in enumerate(target) if word == "[ENDSEARCH]"]
    if options.get("ask") == "path":
        assert without_searches(target) == ["=" + node for node in paths[sought][1:-1]]
        assert not results or len(results) == 1 or results[-1] in following[paths[sought][-2]]
        return
    assert record["answer"] == ("TRUE" if sought in paths else "FALSE")
    visited = [*(word for word in results if word != "[FAILED]"), *without_searches(target)]
    assert visited[-1:] == [f"[{record['answer']}]"]
    if mode != "direct":
        *visited, closing, _ = visited
        assert closing == "[EOS]"
        assert set(visited) <= set(paths)
        assert len(set(visited)) == len(visited)
        deepest = max(map(len, paths.values()))
        wanted = paths[sought][1:] if sought in paths else [a for a, path in paths.items() if len(path) == deepest]
        assert set(wanted) <= set(visited)
        assert sought not in paths or visited[-1] == sought
    assert mode == "rag" or not results
    assert options.get("calls") != "one" or len(results) == 1


CHECKS: dict[str, Callable[[dict, str, int, Options], None]] = {
    check.__name__: check for check in (position_retrieval, last_write, word_problem, find_path)
}


def check_lines(lines: Iterable[str], task: str, mode: str, n: int, options: Options) -> int:
    """How many records were read; raises AssertionError at the first wrong one."""
    count = 0
    for count, line in enumerate(lines, 1):
        record = json.loads(line)
        assert record["index"] == count - 1
        CHECKS[task](record, mode, n, options)
        words = record["prompt"] + record["target"]
        graded = [0] * len(record["prompt"]) + record["loss_mask"]
        assert len(words) == len(graded)
        hidden = len(check_searches(words, graded))
        if task != "word_problem":
            assert sum(record["loss_mask"]) == len(record["target"]) - hidden
    return count


if __name__ == "__main__":
    named = dict(word.split("=") for word in sys.argv[4:])
    checked = check_lines(sys.stdin, sys.argv[1], sys.argv[2], int(sys.argv[3]), named)
    print(f"{checked} records are as described")
