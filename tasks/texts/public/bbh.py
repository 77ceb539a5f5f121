"""Four order-sensitive tasks of BIG-Bench Hard (Suzgun et al. 2022, arXiv 2210.09261): navigate, hyperbaton, tracking
of shuffled objects, temporal sequences.  All are choices: the question with each option at its end."""

import re
from pathlib import Path

from ...api import TaskError
from ..api import Example, TextSet
from ..files import by_group, find_file, read_records
from .choices import check_label

FILE = "order_sensitive_bbh.jsonl"
FIELDS = {"task": str, "id": int, "input": str, "target": str}
TASKS = {
    "navigate": "navigate",
    "hyperbaton": "hyperbaton",
    "tracking": "tracking_shuffled_objects_three_objects",
    "temporal": "temporal_sequences",
}
OPTION = re.compile(r"^(?:\((?P<letter>[A-Z])\)|-) (?P<text>.+)$")


def read(name: str, data: Path | None) -> TextSet:
    """Raises TaskError for a file that is invalid or has no question of this task."""
    path = find_file(data, FILE, name)
    examples = [_example(*each) for each in read_records(path, FIELDS) if each[1]["task"] == TASKS[name]]
    if not examples:
        raise TaskError(f"{path} has no question of task {TASKS[name]}")
    return by_group(name, "choice", (), examples)


def _example(where: str, record: dict[str, str]) -> Example:
    question, _, listed = record["input"].partition("\nOptions:\n")
    options = [OPTION.match(line) for line in listed.splitlines()]
    if not options or None in options:
        raise TaskError(f"{where}: no list of options in field 'input'")
    told = [(f"({o['letter']})" if o["letter"] else o["text"], o["text"]) for o in options if o]
    names = [name for name, _ in told]
    if record["target"] not in names:
        raise TaskError(f"{where}: target {record['target']!r} is none of {', '.join(names)}")
    texts = tuple(f"{question} {text}" for _, text in told)
    label = names.index(record["target"])
    check_label(where, label, texts)
    # the same question twice stays together, and so do orders of the same words
    group = " ".join(sorted(set(" ".join(texts).split())))
    return Example(name=f"{record['task']}-{record['id']}", group=group, texts=texts, label=label)
