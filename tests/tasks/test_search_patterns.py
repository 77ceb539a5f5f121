"""The regular expressions of tasks work where the obvious ones fail.

The ones that fail are rebuilt from the known failures of the paper's own ("RNNs are not Transformers (Yet)", proofs of
theorems 5.2 and 5.3): they count characters for tokens, allow no word between occurrences, need a word in front of the
key, or give the first group alone.
"""

import re

import pytest
import re2

from retrieval_gap.tasks.api import TaskConfig
from retrieval_gap.tasks.registry import load_task

engines = pytest.mark.parametrize("engine", [re, re2], ids=["re", "re2"])


def pattern(task: str, query: str, **config: object) -> str:
    told = load_task(task)(TaskConfig(mode="rag", **config)).search_pattern(query.split())  # type: ignore[arg-type]
    assert told is not None
    return told


def found(engine: object, pattern: str, text: str) -> str | None:
    """The first group that matched some text, as retrieval returns it."""
    match = engine.search(pattern, text)  # type: ignore[attr-defined]
    return next((group for group in match.groups() if group), None) if match else None


@engines
def test_index_counts_tokens_of_several_characters(engine):
    text = "[BOS] aa b cc d [EOS] 3"
    assert found(engine, r"^(?:\S\s*){3}(\S)", text) == "S"  # the fourth character
    assert found(engine, pattern("index", r"^(?:\S+\s){ 3 }(\S+)", n=8), text) == "cc"


@engines
def test_associative_recall_finds_a_key_that_is_the_first_word(engine):
    text = "1 7 2 5 3 5"
    assert found(engine, r"\s1\s(\S+)", text) is None
    assert found(engine, pattern("associative_recall", r"(?:^|\s) 1 \s(\S+)", n=8), text) == "7"


@engines
def test_associative_recall_does_not_take_part_of_a_word_for_the_key(engine):
    text = "[BOS] 12 9 2 5 [EOS] 2"
    assert found(engine, r"2\s(\S+)", text) == "9"
    assert found(engine, pattern("associative_recall", r"(?:^|\s) 2 \s(\S+)", n=8), text) == "5"


@engines
def test_cgram_retrieval_finds_a_gram_that_is_the_first_of_the_text(engine):
    text = "1 10 c 1 1 a"
    assert found(engine, r"\s1\s10\s(\S+)", text) is None
    assert found(engine, pattern("cgram_retrieval", r"(?:^|\s) 1 \s 10 \s(\S+)", n=8), text) == "c"


@engines
@pytest.mark.parametrize(("threshold", "more"), [(0, True), (1, True), (2, False), (3, False)])
def test_counting_finds_occurrences_that_are_not_adjacent(engine, threshold, more):
    text = f"[BOS] b _ a bb b c [EOS] b {threshold}"
    assert (found(engine, rf"(\sb){{{threshold + 1}}}", text) is not None) == (threshold < 1)
    query = rf"^\[BOS\](?:(?:\s\w+)*?\s b \b){{ {threshold} }}(?:\s\w+)*?\s( b )\b"
    assert found(engine, pattern("counting", query, n=8), text) == ("b" if more else None)


@engines
def test_an_edge_written_the_other_way_round_is_found_in_the_second_group(engine):
    text = "[BOS] 4 - 0 5 - 4 [EOS] 0"
    told = pattern("istree", "0 -", n=8)
    match = engine.search(told, text)
    assert match.group(1) is None  # a retriever that looks at the first group alone would give this
    assert found(engine, told, text) == "4"
