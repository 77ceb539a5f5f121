"""Tables as text: column names and rows of a CSV or Parquet file, each row with its place."""

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from retrieval_gap.machine.errors import UsageError
from retrieval_gap.tasks.file_kinds import no_text

MOST_NAMED = 6  # columns named in a one-line error
SWEPT = "sweep demo --csv FILE"  # the command that makes a table of runs


class Placed(NamedTuple):
    """A row's fields as text, and its place: file and line."""

    where: str
    fields: list[str]


def read_rows(path: Path, columns: Iterable[str], made_by: str = SWEPT) -> list[tuple[str, dict[str, str]]]:
    """Return rows as text, each with its place (file and line); a `.parquet` file's values are converted to text.

    made_by: the command that makes such a table, for an error.
    Raises UsageError for an invalid file, and for one that lacks one of these columns.
    """
    names, texts = read_texts(path, columns, made_by)
    return [(where, dict(zip(names, fields, strict=True))) for where, fields in texts]


def read_texts(path: Path, columns: Iterable[str], made_by: str) -> tuple[list[str], Iterator[Placed]]:
    """Return column names and rows.  Raises UsageError as `read_rows` does; for an invalid row, when it is read."""
    if not path.exists():
        raise UsageError(f"there is no results table {path}; {make_it(made_by)}")
    texts = _parquet_texts(path) if path.suffix == ".parquet" else _csv_texts(path)
    names = next(texts, Placed("", [])).fields
    if not names:
        raise UsageError(f"results table {path} is empty; {make_it(made_by)}")
    missing = [column for column in columns if column not in names]
    if missing:
        more = f" and {len(missing) - MOST_NAMED} more" if len(missing) > MOST_NAMED else ""
        raise UsageError(
            f"results table {path} lacks the column {', '.join(missing[:MOST_NAMED])}{more}; {make_it(made_by)}"
        )
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UsageError(f"results table {path} has the column {', '.join(twice)} more than once")
    return names, texts


def _csv_texts(path: Path) -> Iterator[Placed]:
    """Yield the column names, then each row."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:  # spreadsheets begin a file with a byte order mark
            reader = csv.reader(file)
            wanted = 0
            for row in filter(None, reader):
                where = f"results table {path}, line {reader.line_num}"
                wanted = wanted or len(row)
                if len(row) != wanted:
                    raise UsageError(f"{where}: expected {wanted} fields")
                yield Placed(where, row)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        told = str(error) if isinstance(error, OSError) else no_text(path) or str(error)
        raise UsageError(f"results table {path} cannot be read: {told}") from error


def _parquet_texts(path: Path) -> Iterator[Placed]:
    """Yield the column names, then each row."""
    pyarrow = need_pyarrow()
    try:
        table = pyarrow.parquet.ParquetFile(path).read()
    except (OSError, pyarrow.ArrowException) as error:
        raise UsageError(f"results table {path} cannot be read: {str(error).splitlines()[0]}") from error
    values = [[_text(value) for value in column.to_pylist()] for column in table.columns]
    yield Placed("", table.column_names)
    for i, row in enumerate(zip(*values, strict=True)):
        yield Placed(f"results table {path}, row {i + 1}", list(row))


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def need_pyarrow() -> Any:
    """Return pyarrow, which reads and writes Parquet.  Raises UsageError if it is not installed."""
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise UsageError("Parquet needs pyarrow; pip install 'retrieval-gap[parquet]' brings it") from error
    return pyarrow


def make_it(made_by: str = SWEPT) -> str:
    """What to do if there is no table.  made_by: the command that makes one."""
    return f"`retrieval-gap {made_by}` makes a table; name it with --results FILE"
