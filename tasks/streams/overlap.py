"""Streams that hold the same steps: windows of one series may overlap, and other seeds may draw the same ones.

A step with a date is the same step wherever its date and its input are the same.  A step with a number instead has no
place outside its stream: there streams are the same or they are not, and those that are drawn are never the same.
"""

from collections.abc import Hashable, Sequence

# The time of each step, and its input as text.
Steps = Sequence[tuple[str | int, str]]


def first_with_the_steps(streams: Sequence[Steps], *, drawn: bool) -> list[int]:
    """Of each stream the place of the first that has the same steps: its own, where it repeats none."""
    first: dict[Hashable, int] = {}
    return [
        place if _is_apart(steps, drawn) else first.setdefault(tuple(steps), place)
        for place, steps in enumerate(streams)
    ]


def linked_by_steps(streams: Sequence[Steps], *, drawn: bool) -> list[int]:
    """Of each stream the first of its set.  Streams that share a step are of one set, and so are those that others
    link; no step is in two sets."""
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
