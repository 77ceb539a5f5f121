"""Reads CSV files from others: unusable rows are left out and reported, unreadable files are refused."""

import csv
import gzip
import io
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from ..api import TaskError
from ..file_kinds import no_text
from .scores import LARGEST_NUMBER

SHOWN = 3  # lines that a summary names


class TableLine(NamedTuple):
    line: int
    values: dict[str, str]


@dataclass
class LeftOutLines:
    """What a reader left out: reasons, and the lines of each."""

    path: Path
    lines: dict[str, list[int]] = field(default_factory=dict)

    def add(self, reason: str, line: int) -> None:
        self.lines.setdefault(reason, []).append(line)

    def told(self) -> list[str]:
        """One line per reason."""
        return [f"{self.path}: {reason} ({_places(lines)})" for reason, lines in self.lines.items()]


def header(path: Path) -> tuple[str, ...]:
    """The names of a file's columns.  Raises TaskError if it cannot be read."""
    return tuple(next(_lines(path), (0, ()))[1])


def read_rows(path: Path, columns: Sequence[str], left_out: LeftOutLines) -> list[TableLine]:
    """The rows of a CSV file, or of its gzipped form, as text; line 1 is the header.

    Rows that are cut off or have too many fields, and exact repeats, are left out.  Raises TaskError for a file that is
    missing, not UTF-8, not CSV, without one of the columns, or without rows.
    """
    lines = _lines(path)
    _, names = next(lines, (0, []))
    lacking = [column for column in columns if column not in names]
    if lacking:
        raise TaskError(f"{path}: no column {', '.join(lacking)} (it has {', '.join(names)[:200] or 'none'})")
    rows: dict[tuple[str, ...], TableLine] = {}
    for line, fields in lines:
        if len(fields) != len(names):
            left_out.add(f"rows without {len(names)} fields are left out", line)
        elif tuple(fields) in rows:
            left_out.add("rows that repeat an earlier one are left out", line)
        else:
            rows[tuple(fields)] = TableLine(line, dict(zip(names, fields, strict=True)))
    if not rows:
        raise TaskError(f"{path}: the file has no rows")
    return list(rows.values())


def number(row: TableLine, column: str) -> float | None:
    """The field as a number up to LARGEST_NUMBER, None if it is not one."""
    try:
        value = float(row.values[column])
    except ValueError:
        return None
    return value if abs(value) <= LARGEST_NUMBER else None


def day(row: TableLine, column: str) -> date | None:
    """The field as an ISO date, None if it is not one."""
    try:
        return date.fromisoformat(row.values[column].strip())
    except ValueError:
        return None


def usable(
    rows: Iterable[TableLine], numbers: Sequence[str], date_column: str, left_out: LeftOutLines
) -> list[TableLine]:
    """The rows whose numbers and date can be read; empty fields and NaN are not numbers."""
    kept = []
    for row in rows:
        lacking = next((column for column in numbers if number(row, column) is None), None)
        if lacking is None and day(row, date_column) is None:
            lacking = date_column
        if lacking is None:
            kept.append(row)
        else:
            left_out.add(f"rows without a usable {lacking} are left out", row.line)
    return kept


def in_order(rows: Sequence[TableLine], key: Callable[[TableLine], date], left_out: LeftOutLines) -> list[TableLine]:
    """The rows sorted by time, of several rows of one time only the first.  Both changes are reported."""
    ordered = sorted(rows, key=lambda row: (key(row), row.line))
    for before, after in pairwise(rows):
        if key(after) < key(before):
            left_out.add("rows were not in the order of time; they are sorted", after.line)
    kept: list[TableLine] = []
    for row in ordered:
        if kept and key(kept[-1]) == key(row):
            left_out.add("rows for a time that an earlier row has already are left out", row.line)
        else:
            kept.append(row)
    return kept


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The rows of a CSV file that are not empty, each with the number of its last line of text.

    Raises TaskError if the file cannot be read, or a field exceeds the `csv` module's limit.
    """
    reader = csv.reader(io.StringIO(_text(path)))
    line = 0
    try:
        for fields in reader:
            line = reader.line_num
            if fields:
                yield line, fields
    except csv.Error as error:
        told = f"no CSV from line {line + 1} on ({error}); a quote may be open there"
        raise TaskError(f"{path}: {told}") from error


def _text(path: Path) -> str:
    try:
        told = "" if path.suffix == ".gz" else no_text(path)
        if told:
            raise TaskError(f"{path}: {told}")
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise TaskError(f"{path}: not UTF-8 ({error.reason} at byte {error.start})") from error
    except (OSError, EOFError, zlib.error) as error:
        raise TaskError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error


def _places(lines: Sequence[int]) -> str:
    shown = ", ".join(map(str, lines[:SHOWN]))
    return f"line {shown}" if len(lines) == 1 else f"{len(lines)} lines: {shown}{', ...' if len(lines) > SHOWN else ''}"
