"""Overlapping windows for texts longer than what a model can read: each token is taken from where it has the most
context on its shorter side."""

from itertools import pairwise
from typing import NamedTuple

OVERLAP = 4  # a window shares one in OVERLAP of its tokens with the next


class Window(NamedTuple):
    """Tokens start to stop are read together; of those, first to last are kept (stop and last excluded)."""

    start: int
    stop: int
    first: int
    last: int


def windows(length: int, room: int) -> list[Window]:
    """Windows of at most `room` tokens that cover a text of `length`; what they keep covers it exactly once.

    Raises ValueError if `room` is below 1.
    """
    if room < 1:
        raise ValueError(f"a window with room for {room} tokens reads nothing")
    if length <= room:
        return [Window(0, length, 0, length)]
    stride = room - room // OVERLAP
    starts = [*range(0, length - room, stride), length - room]
    cuts = [0, *((later + earlier + room) // 2 for earlier, later in pairwise(starts)), length]
    return [
        Window(start, start + room, first, last) for start, first, last in zip(starts, cuts, cuts[1:], strict=False)
    ]
