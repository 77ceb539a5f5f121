"""Reads the records of a data file one by one: JSON, JSON lines or Parquet."""

import codecs
import json
import re
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from ...api import TaskError
from ...file_kinds import no_text

# Bytes read at once: a whole training file would take gigabytes as one text.
CHUNK = 1 << 20
# Most characters of a record; without a limit, a fault at the start would read the whole file.
LONGEST_RECORD = 1 << 24
# What comes before a list's first record, and before a later one; `end` if there is none.
BETWEEN = (re.compile(r"\s*\[\s*(?P<end>])?"), re.compile(r"\s*(?:,\s*|(?P<end>]))"))


def read_records(path: Path) -> Iterator[tuple[str, Any]]:
    """("record 1" or "line 1", the record) for each record of a file; a line that is not JSON gives a ValueError as its
    record.  Raises TaskError for a file that is missing, compressed, not UTF-8, or not JSON as a whole."""
    if not path.is_file():
        raise TaskError(f"no such data file: {path}")
    if path.suffix == ".parquet":
        return _parquet(path)
    told = no_text(path)
    if told:
        raise TaskError(f"{path}: {told}")
    return _records_of_list(path) if _first_sign(path) == "[" else _lines(path)


def _first_sign(path: Path) -> str:
    with path.open("rb") as file:
        start = file.read(CHUNK).removeprefix(codecs.BOM_UTF8).lstrip()
    if not start:
        raise TaskError(f"{path}: the file is empty")
    return chr(start[0])


def _lines(path: Path) -> Iterator[tuple[str, Any]]:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                yield f"line {number}", _parsed(line)


def _parsed(line: bytes) -> Any:
    try:
        return json.loads(line.removeprefix(codecs.BOM_UTF8))
    except UnicodeDecodeError:
        return ValueError("it is not UTF-8")
    except (ValueError, RecursionError) as error:  # ValueError also for a number of thousands of digits
        return ValueError(f"it is no JSON ({error})")


def _records_of_list(path: Path) -> Iterator[tuple[str, Any]]:
    """The objects of one JSON list, decoded as the file is read.  Raises TaskError if the file is not one list."""
    decoder, chunks, number, at = json.JSONDecoder(), _chunks(path), 0, 0
    text = next(chunks)
    while True:
        try:
            between = BETWEEN[number > 0].match(text, at)
            if between is None:
                raise ValueError("expected '[' or ','" if at < len(text) else "the file is cut off")
            if between["end"]:
                return _check_end(path, chain([text[between.end() :]], chunks))
            record, at = decoder.raw_decode(text, between.end())
        except (ValueError, RecursionError) as error:
            more = "" if len(text) - at > LONGEST_RECORD else next(chunks, "")
            if not more:
                raise TaskError(f"{path}: record {number + 1}: no JSON, or the file is cut off ({error})") from error
            text, at = text[at:] + more, 0
            continue
        number += 1
        yield f"record {number}", record


def _check_end(path: Path, rest: Iterable[str]) -> None:
    """Raises TaskError if anything but white space follows a list."""
    for part in rest:
        if part.strip():
            raise TaskError(f"{path}: expected one list alone, found {part.strip()[:20]!r} after its ']'")


def _chunks(path: Path) -> Iterator[str]:
    """The file's text, in parts.  Raises TaskError if it is not UTF-8."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            while chunk := file.read(CHUNK):
                yield chunk
    except UnicodeDecodeError as error:
        raise TaskError(f"{path}: not UTF-8 ({error.reason} at byte {error.start} of a part)") from error


def _parquet(path: Path) -> Iterator[tuple[str, Any]]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise TaskError(f"{path}: reading Parquet needs pyarrow (pip install 'retrieval-gap[parquet]')") from error
    try:
        number = 0
        for batch in parquet.ParquetFile(path).iter_batches(batch_size=512):
            for record in batch.to_pylist():
                number += 1
                yield f"record {number}", record
    except pyarrow.ArrowException as error:
        raise TaskError(f"{path}: no Parquet file ({' '.join(str(error).split())})") from error
