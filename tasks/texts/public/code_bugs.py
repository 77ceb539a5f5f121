"""HumanEvalPack (Muennighoff et al. 2023, arXiv 2308.07124): is this function the correct one or the one with a bug?
Split by task: its two bodies, and its two languages, stay together."""

from pathlib import Path

from ..api import Example, TextSet
from ..files import by_group, find_file, read_records

FILE = "code_bugs_humanevalpack.jsonl"
FIELDS = {"task": int, "language": str, "declaration": str, "correct": str, "buggy": str}
LABELS = ("correct", "buggy")


def read(data: Path | None) -> TextSet:
    """Raises TaskError for an invalid file."""
    examples = [
        Example(
            name=f"{record['task']}-{record['language']}-{body}",
            group=f"task {record['task']}",
            texts=(record["declaration"] + record[body],),
            label=label,
        )
        for _, record in read_records(find_file(data, FILE, "code_bugs"), FIELDS)
        for label, body in enumerate(LABELS)
    ]
    return by_group("code_bugs", "text", LABELS, examples)
