"""Tables for people: no cell moves a terminal's cursor, whoever wrote it."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import chain
from typing import NamedTuple

from rich.markup import escape
from rich.table import Table

from retrieval_gap.machine.printing import printable, say
from retrieval_gap.machine.terminal import wide_console

# Longer tables are aligned by their longest cells and never wrapped: rich needs a millisecond for each line.
LONG = 400  # lines


class Cells(NamedTuple):
    """A table as text: the columns' names, and rows with a cell for each of them."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


def cells_of(lines: Sequence[Mapping[str, str]]) -> Cells:
    """Lines by their columns' names; the columns are all of these in the order of their first appearance."""
    columns = list(dict.fromkeys(chain.from_iterable(lines)))
    return Cells(columns, [[line.get(column, "") for column in columns] for line in lines])


def print_table(cells: Cells, *, left: Collection[str] = (), without: Collection[str] = ()) -> None:
    """left: the columns that are aligned to the left; the others hold numbers.  without: columns that are left out."""
    shown = [place for place, column in enumerate(cells.columns) if column not in without]
    if len(cells.rows) > LONG:
        _print_long(cells, shown, left)
        return
    table = Table(box=None, pad_edge=False)
    for place in shown:
        column = cells.columns[place]
        table.add_column(escape(_one_line(column)), justify="left" if column in left else "right")
    for row in cells.rows:
        table.add_row(*(escape(_one_line(row[place])) for place in shown))
    wide_console().print(table)


def _print_long(cells: Cells, shown: Sequence[int], left: Collection[str]) -> None:
    """A column at a time: the cells of a long table are a few texts, each made ready once."""
    by_column = list(zip(cells.columns, *cells.rows, strict=True))
    padded = [_padded(by_column[place], cells.columns[place] in left) for place in shown]
    print(*map(str.rstrip, map("  ".join, zip(*padded, strict=True))), sep="\n")


def _padded(texts: Sequence[str], to_the_left: bool) -> Iterator[str]:
    lines = {text: _one_line(text) for text in set(texts)}
    width = max(map(len, lines.values()))
    ready = {text: line.ljust(width) if to_the_left else line.rjust(width) for text, line in lines.items()}
    return map(ready.__getitem__, texts)


def _one_line(cell: str) -> str:
    """Printable, without line feeds."""
    return printable(cell).replace("\n", "\\n")


def constant(cells: Cells, keep: Collection[str]) -> dict[str, str]:
    """The columns in which the rows do not differ, but for those of `keep`, and what they hold."""
    first, *others = cells.rows
    return {
        column: first[place]
        for place, column in enumerate(cells.columns)
        if column not in keep and all(row[place] == first[place] for row in others)
    }


def print_constant(columns: Mapping[str, str]) -> None:
    """One line that says what columns hold that were left out of a table."""
    same = ", ".join(f"{column} {value}" for column, value in columns.items() if value)
    if same:
        say(f"the same in all: {same}")


def p_text(p: float | None) -> str:
    """A p-value, "" where there is none."""
    return "" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"
