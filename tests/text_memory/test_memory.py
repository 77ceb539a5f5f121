"""The memory's text: how it is read from replies, how edits are applied, and what fits the budget."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval_gap.text_memory.memory import SECTIONS, Memory, UnreadableError, apply_edits, diff, parse_memory
from retrieval_gap.text_memory.tokens import Counter

LINES = st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=1, max_size=12).filter(
    lambda text: text.capitalize() not in SECTIONS
)
MEMORIES = st.builds(lambda *items: Memory(tuple(map(tuple, items))), *[st.lists(LINES, max_size=5) for _ in SECTIONS])


@given(MEMORIES)
def test_a_memory_is_read_back_from_its_own_text(memory: Memory):
    assert parse_memory(memory.text) == memory


@pytest.mark.parametrize(
    "text",
    [
        "## History\n* Anna: cat\n2) Ben: dog\n\n**Status:** calm\n## Watch\n",
        "Here you are:\nhistory: Anna: cat\n- Ben: dog\nSTATUS\ncalm\nWatch:",
        "# History\nAnna: cat\nBen: dog\n**Status** calm\n**Watch**",
        "History :\nAnna: cat\nBen: dog\n**Status** : calm\n## **Watch:**",
        '{"history": ["Anna: cat", "Ben: dog"], "Status": "calm", "watch": ""}',
        '{"History": ["- Anna: cat\\n- Ben: dog"], "Status": "calm"}',
        'Sure!\n```json\n{"History": "- Anna: cat\\n- Ben: dog", "Status": ["calm"]}\n```',
    ],
)
def test_a_memory_is_read_in_the_forms_in_which_models_write_it(text: str):
    assert parse_memory(text) == Memory((("Anna: cat", "Ben: dog"), ("calm",), ()))


def test_a_sentence_that_begins_with_a_sections_name_is_an_item():
    text = "History:\nWatch out for rain\nStatus quo kept\nhistory repeats: itself\nWatch:\n**Watch the sky**"
    items = ("Watch out for rain", "Status quo kept", "history repeats: itself")
    assert parse_memory(text) == Memory((items, (), ("**Watch the sky**",)))
    with pytest.raises(UnreadableError):
        parse_memory("Watch out for rain")


@pytest.mark.parametrize("text", ["", "I would note that Anna has a cat.", '{"answer": "cat"}', "{", "- Anna: cat"])
def test_a_text_that_names_no_section_is_no_memory(text: str):
    with pytest.raises(UnreadableError):
        parse_memory(text)


def test_edits_add_replace_and_remove_by_the_numbers_of_the_old_text():
    memory = Memory((("a", "b"), ("c",), ()))
    assert memory.numbered == "History:\n1. a\n2. b\nStatus:\n3. c\nWatch:"
    edited, failed = apply_edits(memory, "REMOVE 1\nreplace 3: C\nADD watch: d: e\n\nadd History: f")
    assert (edited, failed) == (Memory((("b", "f"), ("C",), ("d: e",))), 0)
    assert apply_edits(memory, "KEEP") == (memory, 0)


def test_wrong_edits_are_counted_and_a_reply_of_wrong_edits_alone_is_refused():
    memory = Memory((("a",), (), ()))
    assert apply_edits(memory, "REMOVE 1\nREMOVE 7\nADD Elsewhere: x\nwell") == (Memory(), 3)
    assert apply_edits(memory, "REPLACE 0: x\nREMOVE 0\nREPLACE 1: b") == (Memory((("b",), (), ())), 2)
    for edit in ("REMOVE 7", "REMOVE 0", "REPLACE 0: x"):
        with pytest.raises(UnreadableError):
            apply_edits(memory, edit)
    with pytest.raises(UnreadableError):
        apply_edits(memory, "")


def test_a_diff_has_the_removed_and_the_added_lines():
    assert diff("History:\n- a", "History:\n- b") == ("- - a", "+ - b")


@given(st.lists(st.text("ab ", max_size=20), max_size=30), st.integers(0, 60))
def test_as_many_whole_lines_are_kept_as_fit_the_budget(lines: list[str], budget: int):
    count = Counter(lambda text: len(text.split()))
    kept = count.fitting(lines, budget)
    assert kept == lines[: len(kept)]
    assert count("\n".join(kept)) <= budget
    if len(kept) < len(lines):
        assert count("\n".join(lines[: len(kept) + 1])) > budget


@given(st.lists(st.sampled_from(["a", "b b", "c"]), max_size=12), st.integers(0, 30))
def test_tokens_are_counted_in_the_text_as_shown(lines: list[str], budget: int):
    """With a tokenizer for which lines in falling order have more tokens, as with merges over line ends."""

    def count_tokens(text: str) -> int:
        return len(text.split()) + 3 * sum(first > second for first, second in pairwise(text.split("\n")))

    kept = Counter(count_tokens).fitting_as(lines, budget, lambda chosen: "\n".join(chosen[::-1]))
    assert kept == lines[: len(kept)]
    assert not kept or count_tokens("\n".join(kept[::-1])) <= budget


def test_no_text_is_counted_twice():
    asked: list[str] = []
    count = Counter(lambda text: asked.append(text) or len(text))
    assert [count("abc"), count("abc"), count("")] == [3, 3, 0]
    assert asked == ["abc"]
