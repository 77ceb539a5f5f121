"""Floors, on streams small enough to count by hand."""

from itertools import pairwise

import pytest

from retrieval_gap.tasks.streams.stream import Step, Stream, Target
from retrieval_gap.text_memory.floors import floor_records, floors_of
from tests.text_memory.working import drawn

SKY = Target(name="sky", kind="choice", question="?", options=("rain", "sun"))


def sky(days: str) -> Stream:
    """A stream of days, r (rain) or s (sun): the input is a day's sky, the truth the next day's."""
    names = [{"r": "rain", "s": "sun"}[day] for day in days]
    steps = [
        Step(number=t, time=t, input={"sky": now}, truth={"sky": then}, known_after=t + 1, now={"sky": now})
        for t, (now, then) in enumerate(pairwise(names))
    ]
    return Stream(number=0, name="by hand", steps=tuple(steps))


@pytest.mark.parametrize(
    ("floor", "predicted"),
    [
        ("as_before", "rssrsr"),
        # without a past the present value; then the most common truth so far, of equals the latest
        ("majority", "rsssss"),
        # no past: r; s never seen: s; s -> s once; r -> s once; s -> s and r once each: the latest; r -> s twice
        ("transitions", "rsssrs"),
    ],
)
def test_a_floor_predicts_what_its_rule_says(floor: str, predicted: str):
    records = floor_records(floor, drawn("recall"), sky("rssrsrs"), SKY)
    found = "".join(str(record.predicted)[0] for record in records)
    assert found == predicted


def test_a_number_has_the_floor_of_no_change_and_codes_have_none_of_transitions():
    assert floors_of(Target(name="x", kind="number", question="?")) == ["majority", "as_before", "no_change"]
    assert floors_of(Target(name="x", kind="ranked", question="?")) == ["majority", "as_before"]
    assert floors_of(SKY) == ["majority", "as_before", "transitions"]


def test_a_floor_knows_no_truth_before_its_time():
    """Recall's truths come when its stream is over, so every floor answers as if there were none."""
    benchmark = drawn("recall", "facts=6 values=4")
    for floor in floors_of(benchmark.target("")):
        records = floor_records(floor, benchmark, benchmark.stream(0), benchmark.target(""))
        assert {record.predicted for record in records if record.asked} == {"cat"}


def test_counts_of_transitions_learn_a_rule_that_holds():
    steady = drawn("drift", "cues=3 labels=4 period=1000", steps=100)
    records = floor_records("transitions", steady, steady.stream(0), steady.target(""))
    assert all(record.right for record in records[40:])
