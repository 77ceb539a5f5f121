"""Tables for people: no cell moves a terminal's cursor, whoever wrote it."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import chain

from rich.markup import escape
from rich.table import Table

from retrieval_gap.machine.printing import printable, say
from retrieval_gap.machine.terminal import wide_console

# Longer tables are aligned by their longest cells and never wrapped: rich needs a millisecond for each line.
LONG = 400  # lines


def print_lines(
    lines: Sequence[Mapping[str, str]], *, left: Collection[str] = (), without: Collection[str] = ()
) -> None:
    """Prints lines as a table, whose columns are all their keys in the order of their first appearance.

    left: the columns that are aligned to the left; the others hold numbers.  without: columns that are left out.
    """
    columns = [column for column in columns_of(lines) if column not in without]
    if len(lines) > LONG:
        _print_long(columns, lines, left)
        return
    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(escape(_one_line(column)), justify="left" if column in left else "right")
    for line in lines:
        table.add_row(*(escape(_one_line(line.get(column, ""))) for column in columns))
    wide_console().print(table)


def _print_long(columns: Sequence[str], lines: Iterable[Mapping[str, str]], left: Collection[str]) -> None:
    """A column at a time: the cells of a long table are a few texts, each made ready once."""
    padded = list[Iterable[str]]()
    rows = ([line.get(column, "") for column in columns] for line in lines)
    for column, *cells in zip(columns, *rows, strict=True):
        shown = {cell: _one_line(cell) for cell in {column, *cells}}
        width = max(map(len, shown.values()))
        ready = {cell: text.ljust(width) if column in left else text.rjust(width) for cell, text in shown.items()}
        padded.append(map(ready.__getitem__, [column, *cells]))
    for row in zip(*padded, strict=True):
        print("  ".join(row).rstrip())


def _one_line(cell: str) -> str:
    """Printable, without line feeds."""
    return printable(cell).replace("\n", "\\n")


def constant(lines: Sequence[Mapping[str, str]], keep: Collection[str]) -> dict[str, str]:
    """The columns in which the lines do not differ, but for those of `keep`, and what they hold."""
    same = {column: lines[0].get(column, "") for column in columns_of(lines) if column not in keep}
    for line in lines:  # once each: a long table is larger than the processor's cache
        for column in [c for c, value in same.items() if line.get(c, "") != value]:
            del same[column]
    return same


def print_constant(columns: Mapping[str, str]) -> None:
    """One line that says what columns hold that were left out of a table."""
    same = ", ".join(f"{column} {value}" for column, value in columns.items() if value)
    if same:
        say(f"the same in all: {same}")


def columns_of(lines: Iterable[Mapping[str, str]]) -> list[str]:
    """In the order of their first appearance."""
    return list(dict.fromkeys(chain.from_iterable(lines)))
