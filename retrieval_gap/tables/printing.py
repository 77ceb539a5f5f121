"""Tables for people: no cell can move the terminal's cursor, whoever wrote it."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import chain
from typing import NamedTuple

from retrieval_gap.machine.printing import print_safely, printable


class Cells(NamedTuple):
    """A table as text: column names, and rows with one cell per column."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


def cells_of(lines: Sequence[Mapping[str, str]]) -> Cells:
    """Build a table from lines (cells by column name); columns are in the order of their first appearance."""
    columns = list(dict.fromkeys(chain.from_iterable(lines)))
    return Cells(columns, [[line.get(column, "") for column in columns] for line in lines])


def print_table(cells: Cells, *, left: Collection[str] = (), without: Collection[str] = ()) -> None:
    """Print a table.  left: columns aligned to the left; the others hold numbers.  without: columns to leave out.

    No cell is cut or wrapped: in a terminal that is too narrow, a line goes on in the next.
    """
    # Column by column: a long table has few distinct cells, and each is padded once.
    shown = [place for place, column in enumerate(cells.columns) if column not in without]
    by_column = list(zip(cells.columns, *cells.rows, strict=True))
    padded = [_padded(by_column[place], cells.columns[place] in left) for place in shown]
    print(*map(str.rstrip, map("  ".join, zip(*padded, strict=True))), sep="\n")


def _padded(texts: Sequence[str], to_the_left: bool) -> Iterator[str]:
    lines = {text: _one_line(text) for text in set(texts)}
    width = max(map(len, lines.values()))
    ready = {text: line.ljust(width) if to_the_left else line.rjust(width) for text, line in lines.items()}
    return map(ready.__getitem__, texts)


def _one_line(cell: str) -> str:
    """As printable text, without line feeds."""
    return printable(cell).replace("\n", "\\n")


def constant(cells: Cells, keep: Collection[str]) -> dict[str, str]:
    """The columns, except those in `keep`, that have one value in all rows, with that value."""
    first, *others = cells.rows
    return {
        column: first[place]
        for place, column in enumerate(cells.columns)
        if column not in keep and all(row[place] == first[place] for row in others)
    }


def print_constant(columns: Mapping[str, str]) -> None:
    """Print one line with the values of columns that were left out of a table."""
    same = ", ".join(f"{column} {value}" for column, value in columns.items() if value)
    if same:
        print_safely(f"the same in all: {same}")


def p_text(p: float | None) -> str:
    """A p-value as text, "" for None."""
    return "" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"
