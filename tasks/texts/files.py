"""Reads files of examples, JSON lines with known fields, and decides the split of a group."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ..api import Split, TaskError
from ..file_kinds import HALF_A_CHARACTER, holds_half_a_character, no_text
from .api import Example, LabelKind, TextSet, checked

# Of ten groups, the numbers for training and for validation; the others are for the test.
TRAIN_TENTHS, VALIDATION_TENTHS = 6, 2


def find_file(data: Path | None, name: str, what: str) -> Path:
    """`data` itself, or the file of this name in the folder `data`.  Raises TaskError if there is none."""
    if data is None:
        raise TaskError(f"{what} is read from a file: name {name}, or its folder, with --data")
    path = data / name if data.is_dir() else data
    if not path.is_file():
        raise TaskError(f"{what}: no such file: {path}")
    return path


def read_lines(path: Path) -> list[str]:
    """The lines of a file.  They end at a line feed, a carriage return or both only: a text may hold U+2028 and its
    like.  Raises TaskError, one line, for a file that cannot be read as text."""
    try:
        told = no_text(path)
        text = "" if told else path.read_text(encoding="utf-8-sig")  # some editors begin a file with a mark
    except (OSError, UnicodeDecodeError) as error:
        raise TaskError(f"{path} cannot be read: {error}") from error
    if told:
        raise TaskError(f"{path} cannot be read: {told}")
    return text.removesuffix("\n").split("\n")


def read_records(path: Path, fields: dict[str, type]) -> list[tuple[str, dict[str, Any]]]:
    """Objects of a JSON lines file, each with its place, `file:line`.

    Raises TaskError, naming file, line and field, for a line that is not an object, lacks a field, has one of another
    type, or holds half a character; and for a file without any.
    """
    found = []
    for number, line in enumerate(read_lines(path), 1):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise TaskError(f"{where}: no JSON ({error})") from error
        if not isinstance(record, dict):
            raise TaskError(f"{where}: no JSON object")
        for field, value in record.items():
            if holds_half_a_character(json.dumps([field, value], ensure_ascii=False)):
                raise TaskError(f"{where}: field {field!a} {HALF_A_CHARACTER}")
        for field, kind in fields.items():
            if field not in record:
                raise TaskError(f"{where}: field {field!r} is missing; there are {', '.join(sorted(record)) or 'none'}")
            if type(record[field]) is not kind:
                raise TaskError(f"{where}: field {field!r} is not a {kind.__name__}: {record[field]!r:.60}")
        found.append((where, record))
    if not found:
        raise TaskError(f"{path} holds no example")
    return found


def split_of_group(group: str) -> Split:
    """The split that owns a group, by its name alone."""
    tenth = int.from_bytes(hashlib.sha256(group.encode()).digest()[:8], "little") % 10
    if tenth < TRAIN_TENTHS:
        return "train"
    return "validation" if tenth < TRAIN_TENTHS + VALIDATION_TENTHS else "test"


def by_group(name: str, kind: LabelKind, labels: Sequence[str], examples: Iterable[Example]) -> TextSet:
    """The set of these examples, split by group."""
    splits: dict[Split, list[Example]] = {"train": [], "validation": [], "test": []}
    for example in examples:
        splits[split_of_group(example.group)].append(example)
    return checked(
        TextSet(name=name, kind=kind, labels=tuple(labels), splits={key: tuple(each) for key, each in splits.items()})
    )
