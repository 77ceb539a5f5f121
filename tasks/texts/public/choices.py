"""What readers of choices share."""

from collections.abc import Sequence

from ...api import TaskError


def check_label(where: str, label: int, texts: Sequence[str]) -> None:
    """Raises TaskError where the label is no choice's number, or there is nothing to choose from."""
    if len(texts) < 2 or not 0 <= label < len(texts):
        raise TaskError(f"{where}: label {label} is not a number of one of {len(texts)} choices")
