"""What readers of choices share."""

from collections.abc import Sequence

from ...api import TaskError


def check_label(where: str, label: int, texts: Sequence[str]) -> None:
    """Raises TaskError if the label is not the number of a choice, or there are fewer than two choices."""
    if len(texts) < 2 or not 0 <= label < len(texts):
        raise TaskError(f"{where}: label {label} is not a number of one of {len(texts)} choices")
