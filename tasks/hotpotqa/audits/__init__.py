"""What can be measured on a file, or on made-up worlds, without a model: lengths, reach of searches, shortcuts."""

from collections.abc import Sequence

from ...api import TaskError
from ..data.records import Question
from ..data.subsets import LARGEST, SubsetConfig, Subsets


def with_ten_paragraphs(questions: Sequence[Question], order: str = "random") -> tuple[Question, ...]:
    """The questions that can be shown at every n and in every variant.  Raises TaskError if there is none."""
    whole = Subsets(questions, SubsetConfig(order=order)).questions
    if not whole:
        raise TaskError(f"none of the {len(questions)} questions has {LARGEST} paragraphs, which this audit needs")
    return whole
