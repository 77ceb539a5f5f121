"""Numbers are read from a model's answers."""

import pytest

from retrieval_gap.tasks.streams.stream import Target
from retrieval_gap.text_memory.answers import parsed

DEGREES = Target(name="degrees", kind="number", question="?")


@pytest.mark.parametrize(
    ("written", "read"),
    [("10", 10.0), ('"-1.5 %"', -1.5), ('"1e2"', 100.0), ('"1_0"', None), ('"1_000.5"', None), ("true", None),
     ('"nan"', None), ('"ten"', None)],
)  # fmt: skip
def test_a_number_is_read_in_usual_spellings_and_nothing_else_is_one(written: str, read: float | None) -> None:
    assert parsed(DEGREES, f'{{"answer": {written}}}') == read
