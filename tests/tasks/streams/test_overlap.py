"""Streams that hold the same steps are found."""

from hypothesis import given
from hypothesis import strategies as st

from retrieval_gap.tasks.streams.overlap import Steps, first_with_the_steps, linked_by_steps


def window(first: int, last: int) -> Steps:
    return [(f"2020-01-{day:02}", f"day {day}") for day in range(first, last + 1)]


def test_windows_that_share_a_day_are_linked_and_others_are_not() -> None:
    streams = [window(1, 5), window(6, 9), window(20, 25), window(5, 6), window(10, 19)]
    assert linked_by_steps(streams, drawn=False) == [0, 0, 2, 0, 4]


def test_the_same_day_of_another_place_is_another_step() -> None:
    elsewhere = [(time, f"{told} in New York") for time, told in window(1, 5)]
    assert linked_by_steps([window(1, 5), elsewhere], drawn=False) == [0, 1]


def test_streams_without_dates_match_as_a_whole_or_not_at_all() -> None:
    numbered: Steps = [(0, "a"), (1, "b")]
    other: Steps = [(0, "a"), (1, "c")]
    assert linked_by_steps([numbered, other, numbered], drawn=False) == [0, 1, 0]
    assert first_with_the_steps([numbered, other, numbered], drawn=False) == [0, 1, 0]


def test_drawn_streams_are_never_the_same_even_if_they_look_alike() -> None:
    numbered: Steps = [(0, "a"), (1, "b")]
    assert linked_by_steps([numbered, numbered], drawn=True) == [0, 1]
    assert first_with_the_steps([numbered, numbered], drawn=True) == [0, 1]


@given(st.lists(st.tuples(st.integers(1, 28), st.integers(0, 6)), min_size=1, max_size=12))
def test_streams_that_share_a_step_are_in_one_set_and_sets_share_none(windows: list[tuple[int, int]]) -> None:
    streams = [window(first, first + more) for first, more in windows]
    found = linked_by_steps(streams, drawn=False)
    for one, steps in enumerate(streams):
        assert found[one] <= one
        for other, others in enumerate(streams):
            if set(steps) & set(others):
                assert found[one] == found[other]
    assert len(set(found)) == number_of_sets([set(steps) for steps in streams])


def number_of_sets(sets: list[set[tuple[str | int, str]]]) -> int:
    """The number of sets after joining any two that share a step, until none do."""
    for one in sets:
        for other in sets:
            if one is not other and one & other:
                return number_of_sets([each for each in sets if each is not one and each is not other] + [one | other])
    return len(sets)


def test_a_stream_that_repeats_another_names_the_first() -> None:
    assert first_with_the_steps([window(1, 5), window(2, 5), window(1, 5)], drawn=False) == [0, 1, 0]
