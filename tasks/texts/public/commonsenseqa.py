"""CommonsenseQA (Talmor et al. 2019, arXiv 1811.00937): which of five choices answers the question?  Split by the
question's concept, whose questions share their choices."""

from pathlib import Path

from ..api import Example, TextSet
from ..files import by_group, find_file, read_records
from .choices import check_label

FILE = "commonsenseqa_dev.jsonl"
FIELDS = {"id": str, "question": str, "concept": str, "choices": list, "label": int}


def read(data: Path | None) -> TextSet:
    """Raises TaskError for an invalid file."""
    examples = []
    for where, record in read_records(find_file(data, FILE, "commonsenseqa"), FIELDS):
        texts = tuple(f"{record['question']} {choice}" for choice in record["choices"])
        check_label(where, record["label"], texts)
        examples.append(Example(name=record["id"], group=record["concept"], texts=texts, label=record["label"]))
    return by_group("commonsenseqa", "choice", (), examples)
