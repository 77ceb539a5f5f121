"""Checks what `retrieval-gap sample hotpotqa --format jsonl` prints, line by line; shares no code with this project.

    retrieval-gap sample hotpotqa --mode rag --n-paragraphs 6 --data FILE --format jsonl | python THIS_FILE FILE random

Written from the description of the format alone, with the standard library; searches are run by Python's `re`.
"""

import json
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any


def in_file(path: Path) -> dict[str, dict[str, Any]]:
    """id -> {"question", "answer", "paragraphs": title -> sentences, "gold": titles} for either public schema."""
    text = path.read_text(encoding="utf-8")
    records = json.loads(text) if text.lstrip().startswith("[") else map(json.loads, text.splitlines())
    found = {}
    for record in records:
        context, facts = record["context"], record["supporting_facts"]
        if isinstance(context, dict):
            context = list(zip(context["title"], context["sentences"], strict=True))
            facts = list(zip(facts["title"], facts["sent_id"], strict=True))
        found[record.get("_id") or record["id"]] = {
            "question": plain(record["question"]),
            "answer": plain(record["answer"]),
            "paragraphs": {plain(title): [plain(s) for s in sentences] for title, sentences in context},
            "gold": {plain(title) for title, _ in facts},
        }
    return found


def plain(text: str) -> str:
    """The text with single spaces for white space."""
    return " ".join(text.split())


def spelled(tokens: list[str]) -> str:
    """The text of byte-level tokens, by the table of GPT-2's tokenizer."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in shown]
    byte_of = {chr(byte): byte for byte in shown} | {chr(256 + i): byte for i, byte in enumerate(hidden)}
    return bytes(byte_of[sign] for token in tokens for sign in token).decode("utf-8", "replace").strip()


def pieces(words: list[str]) -> Iterator[tuple[str, str]]:
    """(mark, text after it) for every mark of a trace."""
    marks = [i for i, word in enumerate(words) if re.fullmatch(r"\[[A-Z]+\]", word)]
    for here, following in zip(marks, [*marks[1:], len(words)], strict=True):
        yield words[here], spelled(words[here + 1 : following])


def check_lines(lines: Iterable[str], path: Path | None, order: str) -> int:
    """How many lines were read.  Raises AssertionError at the first wrong one."""
    known, count = in_file(path) if path else {}, 0
    for line in lines:
        check(json.loads(line), known, order)
        count += 1
    return count


def check(record: dict[str, Any], known: dict[str, dict[str, Any]], order: str) -> None:
    paragraphs = record["paragraphs"]
    gold = [paragraph["title"] for paragraph in paragraphs if paragraph["gold"]]
    assert len(gold) == 2
    if order in ("first", "last"):
        places = [i for i, paragraph in enumerate(paragraphs) if paragraph["gold"]]
        assert places == ([0, 1] if order == "first" else [len(paragraphs) - 2, len(paragraphs) - 1])
    if known:
        source = known[record["id"]]
        assert (record["question"], record["answer"]) == (source["question"], source["answer"])
        assert set(gold) == source["gold"]
        others = {title: texts for each in known.values() for title, texts in each["paragraphs"].items()}
        for paragraph in paragraphs:
            title = paragraph["title"]
            if paragraph["gold"]:
                assert paragraph["sentences"] == source["paragraphs"][title]
            assert title in others
    check_trace(record)


def check_trace(record: dict[str, Any]) -> None:
    """The prompt has all sentences, long ones cut; the target each search and the first sentence that it matches."""
    prompt, target = list(pieces(record["prompt"])), list(pieces(record["target"]))
    assert (prompt[0], prompt[-1][0]) == (("[BOS]", ""), "[QUESTION]")
    assert record["question"].startswith(prompt[-1][1])
    context = [(mark, text) for mark, text in prompt[1:-1]]
    wanted = [
        piece
        for paragraph in record["paragraphs"]
        for piece in [("[TITLE]", paragraph["title"]), *(("[SENTENCE]", s) for s in paragraph["sentences"] if s)]
    ]
    assert len(context) == len(wanted)
    for (mark, text), (wanted_mark, whole) in zip(context, wanted, strict=True):
        assert mark == wanted_mark
        assert whole.startswith(text.rstrip("\N{REPLACEMENT CHARACTER}"))
    lines, title = list[tuple[str, str]](), ""
    for mark, text in context:
        title = text if mark == "[TITLE]" else title
        if mark == "[SENTENCE]":
            lines.append((f"{title}: {text}", text))
    marks = [mark for mark, _ in target]
    assert marks == ["[STARTSEARCH]", "[ENDSEARCH]", "[SENTENCE]"] * (len(marks) // 3) + ["[ANSWER]", "[EOS]"]
    for (_, pattern), (_, found) in zip(target[:-2:3], target[2:-2:3], strict=True):
        assert next(sentence for line, sentence in lines if re.search(pattern, line)) == found
    assert record["answer"].startswith(target[-2][1])
    assert target[-1] == ("[EOS]", "")
    graded = iter(record["loss_mask"])
    for mark, text_tokens in grouped(record["target"]):
        assert [next(graded) for _ in range(1 + text_tokens)] == [int(mark != "[SENTENCE]")] * (1 + text_tokens)


def grouped(words: list[str]) -> Iterator[tuple[str, int]]:
    """(mark, number of text tokens after it) for every mark."""
    marks = [i for i, word in enumerate(words) if re.fullmatch(r"\[[A-Z]+\]", word)]
    for here, following in zip(marks, [*marks[1:], len(words)], strict=True):
        yield words[here], following - here - 1


if __name__ == "__main__":
    checked = check_lines(sys.stdin, Path(sys.argv[1]) if sys.argv[1:2] != ["-"] else None, sys.argv[2])
    print(f"{checked} lines are right")
