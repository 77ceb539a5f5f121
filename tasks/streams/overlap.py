"""Streams that share steps: windows of one series may overlap, and different seeds may draw the same windows.

Two steps with a date are the same if date and input are the same.  A step with a number means nothing outside its
stream: such streams are the same as a whole or not at all, and drawn ones never count as the same.
"""

from collections.abc import Hashable, Sequence

# The time of each step, and its input as text.
Steps = Sequence[tuple[str | int, str]]


def first_with_the_steps(streams: Sequence[Steps], *, drawn: bool) -> list[int]:
    """For each stream the index of the first that has the same steps: its own, if it repeats none."""
    first: dict[Hashable, int] = {}
    return [
        place if _is_apart(steps, drawn) else first.setdefault(tuple(steps), place)
        for place, steps in enumerate(streams)
    ]


def linked_by_steps(streams: Sequence[Steps], *, drawn: bool) -> list[int]:
    """For each stream the index of the first of its set.  Streams that share a step, directly or through others, are in
    one set; no step is in two sets."""
    parent = list(range(len(streams)))
    holder: dict[Hashable, int] = {}
    for place, steps in enumerate(streams):
        if _is_apart(steps, drawn):
            continue
        for step in steps if isinstance(steps[0][0], str) else [tuple(steps)]:
            one, other = sorted((_root(parent, place), _root(parent, holder.setdefault(step, place))))
            parent[other] = one
    return [_root(parent, place) for place in range(len(streams))]


def _is_apart(steps: Steps, drawn: bool) -> bool:
    return not steps or (drawn and not isinstance(steps[0][0], str))


def _root(parent: list[int], place: int) -> int:
    while parent[place] != place:
        parent[place] = place = parent[parent[place]]
    return place
