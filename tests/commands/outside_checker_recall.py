"""Checks what `retrieval-gap sample TASK --format jsonl` prints of a recall task; shares no code with this project.

    retrieval-gap sample copy --mode rag --length 64 --format jsonl |
      python tests/commands/outside_checker_recall.py copy rag 64

Written from the description of the format alone, with the standard library.  Options follow as `c=4` or
`pairs=8`; `first=1` says that the question comes first.
"""

import json
import re
import sys
from collections.abc import Iterable, Iterator

SIZED = {"index": 1, "associative_recall": 1, "counting": 2, "copy": 0}  # tokens of the question after `[EOS]`


def searches(words: list[str]) -> Iterator[tuple[list[str], list[str], str]]:
    """(text before, query, result) of every search of a trace."""
    start = -1
    for i, word in enumerate(words):
        if word == "[STARTSEARCH]":
            start = i
        elif word == "[ENDSEARCH]":
            yield words[:start], words[start + 1 : i], words[i + 1]


def found(before: list[str], query: list[str]) -> str:
    """What Python's `re` finds in the text before the query; the pieces of the query make one pattern."""
    match = re.search("".join(query), " ".join(before))
    return next((group for group in match.groups() if group), "[FAILED]") if match else "[FAILED]"


def answers(task: str, prompt: list[str], n: int, c: int, first: bool) -> list[str]:
    """The right answers, from the definition of the task and the prompt."""
    assert prompt[0] == "[BOS]"
    if first:  # the question comes right after [BOS]
        asked = SIZED.get(task, c - 1)
        prompt = ["[BOS]", *prompt[1 + asked :], *prompt[1 : 1 + asked]]
    assert prompt[n + 1] == "[EOS]"
    sequence, question = prompt[1 : n + 1], prompt[n + 2 :]
    assert len(question) == SIZED.get(task, c - 1)
    if task == "index":
        return [sequence[int(question[0]) - 1]]
    if task == "associative_recall":
        keys, values = sequence[::2], sequence[1::2]
        assert sorted(map(int, keys)) == list(range(1, n // 2 + 1))
        assert min(map(int, values)) > n // 2
        return [values[keys.index(question[0])]]
    if task == "cgram_retrieval":
        starts = [i for i in range(n - c + 1) if sequence[i : i + c - 1] == question]
        assert len(starts) == 1, "the key is in the sequence once"
        return [sequence[starts[0] + c - 1]]
    if task == "counting":
        return ["TRUE" if sequence.count(question[0]) > int(question[1]) else "FALSE"]
    return sequence


def check_one_question(task: str, record: dict, mode: str, n: int, options: dict[str, int]) -> list[str]:
    """Checks target and mask of a task with one question (copy: several answers in a row); returns the answers."""
    expected = answers(task, record["prompt"], n, options.get("c", 3), bool(options.get("first")))
    spelled = [f"[{word}]" if word in ("TRUE", "FALSE") else word for word in expected]
    target, mask = record["target"], record["loss_mask"]
    hidden = [i > 0 and target[i - 1] == "[ENDSEARCH]" for i in range(len(target))]
    assert mask == [0 if off else 1 for off in hidden]
    written = [word for word, off in zip(target, hidden, strict=True) if not off]
    while "[STARTSEARCH]" in written:
        start, stop = written.index("[STARTSEARCH]"), written.index("[ENDSEARCH]")
        written = written[:start] + written[stop + 1 :]
    closing = ["[EOS]"] if mode == "rag" and task != "copy" else []
    assert written == closing + spelled, (written, spelled)
    assert target.count("[STARTSEARCH]") == (len(expected) if mode == "rag" else 0)
    return expected


def check_mqar(record: dict, mode: str, n: int, pairs: int) -> list[str]:
    """Checks pairs, then slots of two (a query is a key, in rag a search, and a graded value); returns the answers."""
    words = record["prompt"] + record["target"]
    graded = [0] * len(record["prompt"]) + record["loss_mask"]
    keys, values = words[1 : 2 * pairs : 2], words[2 : 2 * pairs + 1 : 2]
    assert len(set(keys)) == len(set(values)) == pairs
    assert not set(keys) & set(values)
    value = dict(zip(keys, values, strict=True))
    width = 8 if mode == "rag" else 2
    at, slots, asked = 1 + 2 * pairs, 0, []
    while at < len(words):
        slots += 1
        if sum(graded[at : at + 2]) == 0:
            at += 2
            continue
        key = words[at]
        assert words[at + width - 1] == value[key]
        assert graded[at : at + width] == ([0, 1, 1, 1, 1, 1, 0, 1] if mode == "rag" else [0, 1])
        asked.append(key)
        at += width
    assert sorted(asked) == sorted(keys), "every key is asked for once"
    assert 2 * (pairs + slots) <= n
    return [value[key] for key in asked]


def check(task: str, record: dict, mode: str, n: int, options: dict[str, int]) -> None:
    """Raises AssertionError at the first difference from the description."""
    if task == "mqar":
        expected = check_mqar(record, mode, n, options.get("pairs", max(1, n // 16)))
    else:
        expected = check_one_question(task, record, mode, n, options)
    assert record["answer"] == " ".join(expected)
    for before, query, result in searches(record["prompt"] + record["target"]):
        assert found(before, query) == result, (query, result)
    assert "edges" not in record


def check_lines(lines: Iterable[str], task: str, mode: str, n: int, **options: int) -> int:
    """How many records were read; raises AssertionError at the first wrong one."""
    count = 0
    for count, line in enumerate(lines, 1):
        record = json.loads(line)
        assert record["index"] == count - 1
        check(task, record, mode, n, options)
    return count


if __name__ == "__main__":
    named = {name: int(number) for name, number in (word.split("=") for word in sys.argv[4:])}
    count = check_lines(sys.stdin, sys.argv[1], sys.argv[2], int(sys.argv[3]), **named)
    print(f"{count} records are as described")
