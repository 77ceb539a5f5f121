"""Shuffles change the order within windows and nothing else."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval_gap.tasks.texts import Example
from retrieval_gap.tasks.texts.shuffles import WHOLE, permutation, shuffled_words


@given(st.integers(0, 200), st.integers(0, 64), st.text(max_size=5))
def test_a_permutation_keeps_everything_within_its_window(length: int, window: int, key: str) -> None:
    order = permutation(length, window, key)
    assert sorted(order.tolist()) == list(range(length))
    if window:
        assert (order // window == np.arange(length) // window).all()


def test_a_key_gives_the_same_order_each_time_and_another_key_another() -> None:
    assert permutation(50, WHOLE, "a").tolist() == permutation(50, WHOLE, "a").tolist()
    assert permutation(50, WHOLE, "a").tolist() != permutation(50, WHOLE, "b").tolist()


def test_all_orders_of_a_window_are_about_as_frequent() -> None:
    seen = [tuple(permutation(3, WHOLE, str(key)).tolist()) for key in range(3000)]
    counts = [seen.count(order) for order in set(seen)]
    assert len(counts) == 6
    assert min(counts) > 400


def test_tags_move_with_their_words_and_spaces_stay() -> None:
    example = Example(name="a", group="a", texts=("if x:\n  go on\tnow",), tags=(0, 1, 2, 3, 4))
    shuffled = shuffled_words(example, WHOLE, "key")
    tag_of = dict(zip(example.texts[0].split(), example.tags, strict=True))
    assert [tag_of[word] for word in shuffled.texts[0].split()] == list(shuffled.tags)
    assert [c for c in shuffled.texts[0] if c.isspace()] == [c for c in example.texts[0] if c.isspace()]
    assert shuffled.texts != example.texts


@pytest.mark.parametrize("window", [2, 4, WHOLE])
def test_each_choice_keeps_its_words(window: int) -> None:
    example = Example(name="a", group="a", texts=("one two three four five", "six seven"), label=1)
    shuffled = shuffled_words(example, window, "key")
    assert [sorted(text.split()) for text in shuffled.texts] == [sorted(text.split()) for text in example.texts]
    assert shuffled.label == 1
