"""Removes order: permutations within windows, from 2 places to the whole text."""

import hashlib
import re

import numpy as np
from numpy.typing import NDArray

from .api import Example

WHOLE = 0  # a window as long as the sequence


def permutation(length: int, window: int, key: str) -> NDArray[np.int64]:
    """The source of each place: places are shuffled within windows of this many, all together for `WHOLE`.

    The windows are consecutive, from the first place on.  The same key gives the same permutation.  A window is uniform
    over its orders, the original one included.
    """
    rng = np.random.default_rng(np.frombuffer(hashlib.sha256(key.encode()).digest(), np.uint32))
    size = window or max(length, 1)
    pieces = [first + rng.permutation(min(size, length - first)) for first in range(0, length, size)]
    return np.concatenate(pieces) if pieces else np.empty(0, np.int64)


def shuffled_words(example: Example, window: int, key: str) -> Example:
    """The same example with the words of each of its texts shuffled, and its tags with them.

    White space between the words (spaces, line breaks) stays in place.
    """
    orders = [permutation(len(text.split()), window, f"{key}|{place}") for place, text in enumerate(example.texts)]
    texts = tuple(_reordered(text, order) for text, order in zip(example.texts, orders, strict=True))
    tags = tuple(example.tags[place] for place in orders[0]) if example.tags else ()
    return Example(
        name=example.name, group=example.group, texts=texts, label=example.label, tags=tags, place=example.place
    )


def _reordered(text: str, order: NDArray[np.int64]) -> str:
    words, between = text.split(), re.split(r"\S+", text)
    return between[0] + "".join(words[place] + after for place, after in zip(order, between[1:], strict=True))
