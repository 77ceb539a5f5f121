import pytest
import re2

from retrieval_gap.decoding.retrieval import pattern_options
from retrieval_gap.theory.constructions.repetition import MOST_REPEATS, skip_words


def found(pattern: str, words: int) -> str:
    text = " ".join(f"w{place}" for place in range(words))
    match = re2.compile(pattern, pattern_options()).search(text)
    return match.group(1) if match else ""


@pytest.mark.parametrize("count", [0, 1, MOST_REPEATS, MOST_REPEATS + 1, 2500, 8000])
def test_the_pattern_skips_as_many_words_as_asked(count):
    assert found(skip_words(count), count + 2) == f"w{count}"
    assert found(skip_words(count), count) == ""


@pytest.mark.parametrize("pattern", [r"(?:\S+\s){1001}(\S+)", r"(?:(?:\S+\s){100}){11}(\S+)"])
def test_re2_rejects_one_group_and_nested_groups_past_its_limit(pattern):
    with pytest.raises(re2.error, match="repetition"):
        re2.compile(pattern, pattern_options())


def test_a_negative_count_is_refused():
    with pytest.raises(ValueError, match="-1"):
        skip_words(-1)
