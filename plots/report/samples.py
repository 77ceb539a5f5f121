"""What a model wrote, cut into pieces that a page can colour: its own tokens, searches, results, given tokens."""

import json
import re
from itertools import groupby
from pathlib import Path
from typing import Any

from tokenizers.decoders import ByteLevel

from retrieval_gap.decoding.kept_samples import GIVEN, MODEL, RETRIEVER
from retrieval_gap.tasks.api import CONTROL_TOKENS, ENDSEARCH, STARTSEARCH

SEARCH = "s"
MOST_TOKENS = 1_500  # shown of what was written
MOST_PROMPT = 600
_SPACE = "Ġ"
MOST_GOLD = 40  # of the gold trace, from where the model departs from it

Shown = dict[str, Any]


def shown_samples(path: Path) -> list[Shown]:
    """The samples that a run keeps, as the page shows them; none without a file.  Invalid lines are left out."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError):
        return []
    return [shown(record) for record in map(_record, lines) if record is not None]


def shown(record: dict[str, Any]) -> Shown:
    """`pieces` of what was written: who wrote it, its text, whether it is at or after the departure from the gold
    trace, and whether it is the departure; `gold`: how the gold trace continues from there."""
    departs, written = record["departs"], record["written"]
    kinds = kinds_of(written, record["by"])[:MOST_TOKENS]
    keys = [(kind, departs is not None and t >= departs, t == departs) for t, kind in enumerate(kinds)]
    places = groupby(range(len(kinds)), key=keys.__getitem__)
    pieces = [[kind, text_of([written[t] for t in run]), int(off), int(first)] for (kind, off, first), run in places]
    left_out = record["left_out"]
    return {
        "index": record["index"],
        "right": record["right"],
        "prompt": _joined(record["prompt"], MOST_PROMPT, left_out[0]),
        "pieces": pieces,
        "more": max(0, len(written) - MOST_TOKENS) + left_out[1],
        "departs": departs,
        "gold": "" if departs is None else _joined(record["gold"][departs:], MOST_GOLD, left_out[2]),
    }


def kinds_of(words: list[str], by: str) -> str:
    """Who wrote each token; the model's searches are a kind of their own."""
    kinds, searching = "", False
    for word, who in zip(words, by, strict=True):
        searching = who == MODEL and (searching or word == CONTROL_TOKENS[STARTSEARCH])
        kinds += SEARCH if searching else who
        searching = searching and word != CONTROL_TOKENS[ENDSEARCH]
    return kinds


def text_of(words: list[str]) -> str:
    """Tokens as one text: joined by spaces, or decoded if they are pieces of words (of a byte-level tokenizer, which
    marks the space before a word)."""
    if not any(word.startswith(_SPACE) for word in words):
        return " ".join(words)
    control = re.compile(r"\[[A-Z]+\]")
    spaced = [f"{_SPACE}{word}" if control.fullmatch(word) else word for word in words]
    return str(ByteLevel().decode(spaced)).strip()


def _joined(words: list[str], most: int, left_out: int) -> str:
    """The first words in one text, and how many more there were."""
    more = max(0, len(words) - most) + left_out
    return text_of(words[:most]) + (f" … and {more:,} tokens more" if more else "")


def _record(line: str) -> dict[str, Any] | None:
    """A line of samples.jsonl, or None if it is not one."""
    try:
        told = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(told, dict):
        return None
    prompt, written, gold, by = (told.get(key) for key in ("prompt", "written", "gold", "by"))
    if not all(isinstance(words, list) and all(isinstance(w, str) for w in words) for words in (prompt, written, gold)):
        return None
    sound = isinstance(by, str) and len(by) == len(written or ()) and set(by) <= {MODEL, RETRIEVER, GIVEN}
    sound = sound and type(told.get("departs")) in (int, type(None)) and type(told.get("index")) is int
    more = told.get("left_out")
    sound = sound and isinstance(more, list) and [type(n) for n in more] == [int] * 3
    return told if sound and isinstance(told.get("right"), bool) else None
