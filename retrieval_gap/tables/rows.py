"""Result tables as data: columns, reading from CSV or Parquet, merging by configuration, writing.

Nothing here needs torch, so that drawing a figure or comparing two tables takes a second.
"""

import csv
import io
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from retrieval_gap.machine.errors import UsageError
from retrieval_gap.machine.files import is_special, make_room_for, target_of, write_atomically, write_text
from retrieval_gap.tables.filters import options_of_row
from retrieval_gap.tables.texts import SWEPT, Placed, make_it, need_pyarrow, read_texts
from retrieval_gap.tables.values import finite_number, share_in, share_of_one, whole_number

# The contract of results/*.csv: the columns of `run.result_row`, in this order.
KINDS: dict[str, type[str] | type[int] | type[float]] = {
    "task": str, "family": str, "mode": str, "n": int, "options": str, "arch": str, "size": str, "embedding": str,
    "parameters": int, "state_bits": int, "state_bits_per_token": int, "samples": int, "batch_size": int, "lr": float,
    "warmup_samples": int, "max_grad_norm": float, "precision": str, "curriculum": str, "seed": int, "eval_split": str,
    "accuracy": float, "accuracy_low": float, "accuracy_high": float, "accuracy_strict": float,
    "exact_trace": float, "undecided": float, "eval_samples": int,
    "tokens_per_s": float, "wall_s": float, "threads": int,
    "hardware": str, "torch": str, "commit": str, "config_hash": str,
}  # fmt: skip
COLUMNS = tuple(KINDS)
RESULTS = Path(__file__).resolve().parents[2] / "results"  # comes with a checkout
PUBLISHED = RESULTS / "published_istree.csv"
# Columns that older tables lack, with the value that held then.
_DEFAULTS = {"options": "", "precision": "fp32", "curriculum": ""}
_UNKNOWN = {"state_bits_per_token": "", "warmup_samples": "", "max_grad_norm": ""}  # in older tables
SHARES = ("accuracy", "accuracy_low", "accuracy_high", "accuracy_strict", "exact_trace", "undecided")
_NEVER_EMPTY = ("task", "mode", "n", "arch", "size", "seed", *SHARES[:3], "eval_samples", "config_hash")
# Two rows of one configuration may differ in these: when and where it ran, how its shape or a file was named.
INCIDENTAL = ("options", "size", "tokens_per_s", "wall_s", "threads", "hardware", "torch", "commit")
# One of these begins every table that this program writes.  Of those that begin with "task", `MARKS` tells the kind.
FIRST_COLUMNS = ("task", "dataset", "benchmark", "model")
MARKS = {"tested_n": "tests of runs", "rank": "probes of runs", "theorem": "constructions", "difference": "comparisons"}
MOST_OF_A_HEADER, PARQUET = 2000, b"PAR1"  # bytes that are read of a header; how a Parquet file begins
AT_A_TIME = 256  # rows: few enough to stay in the processor's cache

Row = dict[str, Any]


class Sourced(NamedTuple):
    """A row with its place: file and line."""

    where: str
    row: Row

    def filter_values(self) -> Row:
        return self.row

    def own_options(self) -> Mapping[str, Any]:
        return options_of_row(self.row)


def read_table(path: Path) -> list[Sourced]:
    """Return the rows of a table of runs, numbers parsed; columns that only this table has stay text.

    Raises UsageError for a file that is absent, no table, empty, lacks a column or holds an impossible value.
    """
    names, texts = read_texts(path, [column for column in COLUMNS if column not in _DEFAULTS | _UNKNOWN], SWEPT)
    rows = list(_typed(names, texts))
    if not rows:
        raise UsageError(f"results table {path} is empty: no run has finished; {make_it()}")
    return rows


def completed(where: str, row: Row) -> Row:
    """Return a run's own row with every column; those that older runs lack have the value that held then, or None.

    Raises UsageError if a required column is missing or invalid.
    """
    whole = dict.fromkeys(COLUMNS) | _DEFAULTS | row
    for column in _NEVER_EMPTY:
        kinds = (int, float) if KINDS[column] is float else (KINDS[column],)
        if type(whole[column]) not in kinds:
            raise UsageError(f"{where}: {column} = {whole[column]!r} is invalid")
        if column in SHARES:
            share_in(where, {column: str(whole[column])}, column)
    return whole


def merge(sources: Iterable[Sourced], *, keep_contradictions: bool = False) -> list[Sourced]:
    """Return one row per configuration, in the order of their first appearance.

    Of rows with one `config_hash` that agree in all but `INCIDENTAL`, the first is kept, its gaps filled by later ones.
    Raises UsageError, naming both, if they do not agree: one number would silently replace two.
    keep_contradictions: keep both instead, for a reader who sees where each comes from.
    """
    places: dict[str, list[int]] = defaultdict(list)
    merged: list[Sourced] = []
    for source in sources:
        known = places[source.row["config_hash"]]
        told = [contradiction(merged[place], source) for place in known]
        if "" in told:
            same = known[told.index("")]
            merged[same] = _filled(merged[same], source)
            continue
        if told and not keep_contradictions:
            raise UsageError(told[0])
        known.append(len(merged))
        merged.append(source)
    return merged


def _filled(one: Sourced, other: Sourced) -> Sourced:
    known = {column: value for column, value in other.row.items() if value is not None and one.row.get(column) is None}
    return Sourced(one.where, one.row | known) if known else one


def contradiction(one: Sourced, other: Sourced) -> str:
    """The first disagreement of two rows of one configuration; "" if they agree."""
    for column, value in other.row.items():
        before = one.row.get(column)
        if column not in INCIDENTAL and before is not None and value is not None and not _same(before, value):
            return (
                f"{one.where} and {other.where} are the same configuration ({one.row['config_hash']}) "
                f"but {column} is {before} and {value}; leave one of them out"
            )
    return ""


def columns_of(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The contract's columns, then the rows' other columns."""
    return list(dict.fromkeys([*COLUMNS, *(column for row in rows for column in row)]))


def make_room_for_table(path: Path, columns: Sequence[str] = COLUMNS) -> None:
    """Make the folder of a table with these columns that will be saved at the end of the work.

    Raises UsageError, before any work is done in vain, if the table cannot be written, or if there is a file that is
    no table of this program's, or one of another kind, and would be lost.
    """
    make_room_for(path)
    target = target_of(path)
    if is_special(target) or not target.exists():
        return
    with target.open("rb") as file:
        start = file.readline(MOST_OF_A_HEADER)
    if not start or start.startswith(PARQUET):
        return
    there = [name.strip('"\r\n') for name in start.decode("utf-8-sig", "replace").split(",")]
    if there[0] not in FIRST_COLUMNS:
        raise UsageError(
            f"{path} exists, and is no table that this program writes; expected another name for the table"
        )
    if _kind(there) != _kind(columns):
        raise UsageError(
            f"{path} is a table of {_kind(there)}, not of {_kind(columns)}; expected another name for this one"
        )


def _kind(columns: Sequence[str]) -> str:
    """The kind of table that has these columns."""
    named = {"dataset": "heads", "benchmark": "memories", "model": "pretrained models"}
    return named.get(columns[0]) or next((kind for mark, kind in MARKS.items() if mark in columns), "runs")


def save_table(path: Path, columns: Sequence[str], rows: Sequence[Row], *, parquet: bool = False) -> None:
    """Write a table in place of the one that is there, and print so; no rows leave an earlier table as it is.

    Raises UsageError if it cannot be written.
    """
    assert columns[0] in FIRST_COLUMNS
    if not rows and path.is_file() and path.stat().st_size:
        print(f"no rows: {path} is left as it is")
        return
    if parquet:
        write_parquet(path, rows)
    else:
        write_table(path, columns, rows)
    print(f"{len(rows)} rows written to {path}")


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """Write a results table, replacing the file.  Raises UsageError if it cannot be written."""
    rows = list(rows)
    write_table(path, columns_of(rows), rows)


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Row]) -> None:
    """Write these columns of the rows to a CSV file, replacing it.  Raises UsageError if it cannot be written."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, text.getvalue())
    except OSError as error:
        raise UsageError(f"results table {path} cannot be written: {error.strerror}") from error


def write_parquet(path: Path, rows: Sequence[Row]) -> None:
    """Write a Parquet file, replacing it: whole numbers as int64, others as double, the rest as text, None as null.

    A column outside the contract has the type that fits all of its values, or else text.

    Raises UsageError if the file cannot be written, or a value does not have its column's type.
    """
    pyarrow = need_pyarrow()
    types = {str: pyarrow.string(), int: pyarrow.int64(), float: pyarrow.float64()}
    columns = {}
    for name in columns_of(rows):
        values = [row.get(name) for row in rows]
        kind = KINDS.get(name) or _kind_of(values)
        values = (
            values if name in KINDS or kind is not str else [None if each is None else str(each) for each in values]
        )
        try:
            columns[name] = pyarrow.array(values, types[kind])
        except (pyarrow.ArrowInvalid, pyarrow.ArrowTypeError) as error:
            raise UsageError(f"column {name} cannot be written to {path}: {error}") from error
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, lambda part: pyarrow.parquet.write_table(pyarrow.table(columns), part))
    except OSError as error:
        raise UsageError(f"results table {path} cannot be written: {error.strerror or error}") from error


def _kind_of(values: Iterable[Any]) -> type[str] | type[int] | type[float]:
    """The type of these values without None: int, float if any is a float, or else str."""
    kinds = {type(value) for value in values if value is not None}
    return str if not kinds or kinds - {int, float} else float if float in kinds else int


def _typed(names: Sequence[str], texts: Iterator[Placed]) -> Iterator[Sourced]:
    """Yield rows with every column, numbers parsed; `AT_A_TIME` rows are converted together, column by column.

    Raises UsageError, naming the first such row, for a value that does not have its column's type.
    """
    unsaid = {column: text for column, text in (_DEFAULTS | _UNKNOWN).items() if column not in names}
    columns = columns_of([dict.fromkeys([*names, *unsaid])])
    known = {column: _Known(column) for column in columns}
    while some := list(islice(texts, AT_A_TIME)):
        held = dict(zip(names, zip(*(fields for _, fields in some), strict=True), strict=True))
        told = held | {column: [text] * len(some) for column, text in unsaid.items()}
        try:
            values = [list(map(known[column].__getitem__, told[column])) for column in columns]
        except ValueError:
            raise _first_trouble(names, some) from None
        for (where, _), row in zip(some, zip(*values, strict=True), strict=True):
            yield Sourced(where, dict(zip(columns, row, strict=True)))


def _first_trouble(names: Sequence[str], texts: Iterable[Placed]) -> UsageError:
    for where, fields in texts:
        for column, text in zip(names, fields, strict=True):
            try:
                _value(column, text)
            except ValueError as error:
                return UsageError(f"{where}: {error}")
    raise AssertionError("one of these rows has an invalid value")


class _Known(dict[str, Any]):
    """The values of a column by their text, each parsed once: a long table has few distinct ones.

    Raises ValueError for an invalid text.
    """

    def __init__(self, column: str) -> None:
        super().__init__()
        self._column = column

    def __missing__(self, text: str) -> Any:
        value = self[text] = _value(self._column, text)
        return value


def _value(column: str, text: str) -> str | int | float | None:
    kind = KINDS.get(column, str)
    if not text:
        if column in _NEVER_EMPTY:
            raise ValueError(f"{column} is empty")
        return _DEFAULTS.get(column, "") if kind is str else None
    if kind is float:
        return share_of_one(column, text) if column in SHARES else finite_number(column, text)
    return text if kind is str else whole_number(column, text)


def _same(one: Any, other: Any) -> bool:
    """Whether two values are the same number, however a tool has written it, or the same text."""
    if isinstance(one, int | float) and isinstance(other, int | float):
        return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-12)
    return bool(one == other)
