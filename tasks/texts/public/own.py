"""A user's own file of JSON lines: `text` and `label`, and optionally `group` and `split`.

Without `group` a text is its own group; without `split` the groups decide.  Splits that share a group are refused.
"""

from pathlib import Path
from typing import get_args

from ...api import Split, TaskError
from ..api import Example, TextSet, checked, number_of
from ..files import by_group, find_file, read_records

FILE = "texts.jsonl"


def read(data: Path | None) -> TextSet:
    """Raises TaskError for an invalid file."""
    records = read_records(find_file(data, FILE, "own"), {"text": str, "label": str})
    labels = tuple(sorted({record["label"] for _, record in records}))
    examples, told = [], []
    for where, record in records:
        group = str(record.get("group", record["text"]))
        label = number_of(record["label"], labels, where)
        examples.append(Example(name=where.rpartition(":")[2], group=group, texts=(record["text"],), label=label))
        told.append(record.get("split"))
        if told[-1] not in (None, *get_args(Split)):
            raise TaskError(f"{where}: split {told[-1]!r} is none of {', '.join(get_args(Split))}")
    if None not in told:
        splits: dict[Split, tuple[Example, ...]] = {
            s: tuple(e for e, t in zip(examples, told, strict=True) if t == s) for s in get_args(Split)
        }
        return checked(TextSet(name="own", kind="text", labels=labels, splits=splits))
    if any(told):
        raise TaskError(f"{data}: some examples name their split, others do not")
    return by_group("own", "text", labels, examples)
