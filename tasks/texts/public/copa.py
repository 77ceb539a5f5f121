"""Balanced COPA (Kavumba et al. 2019, arXiv 1911.00225): the likelier cause or effect.  A question and its mirrored
twin have the same choices and other answers; they stay together."""

from pathlib import Path

from ..api import Example, TextSet
from ..files import by_group, find_file, read_records
from .choices import check_label

FILE = "copa_balanced_dev.jsonl"
FIELDS = {"id": int, "pair": int, "asks_for": str, "premise": str, "choices": list, "label": int}
LINKS = {"cause": "because", "effect": "so"}


def read(data: Path | None) -> TextSet:
    """Raises TaskError for an invalid file."""
    examples = []
    for where, record in read_records(find_file(data, FILE, "copa"), FIELDS):
        link = LINKS.get(record["asks_for"], "so")
        start = record["premise"].rstrip(". ")
        texts = tuple(f"{start} {link} {choice[:1].lower()}{choice[1:]}" for choice in record["choices"])
        check_label(where, record["label"], texts)
        group = f"pair {record['pair']}"
        examples.append(Example(name=str(record["id"]), group=group, texts=texts, label=record["label"]))
    return by_group("copa", "choice", (), examples)
