"""Tables for people: no cell moves a terminal's cursor, whoever wrote it."""

from collections.abc import Mapping, Sequence
from itertools import chain

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from retrieval_gap.machine.printing import printable

WIDTH = 160  # where there is no terminal
# Longer tables are aligned by their longest cells and never wrapped: rich needs a millisecond for each line.
LONG = 400  # lines


def print_wide(table: Table) -> None:
    """Prints a table as wide as the terminal, or as a file can take."""
    console = Console()
    (console if console.is_terminal else Console(width=WIDTH)).print(table)


def print_lines(lines: Sequence[Mapping[str, str]], *, left: Sequence[str] = ()) -> None:
    """Prints lines as a table, whose columns are all their keys in the order of their first appearance.

    left: the columns that are aligned to the left; the others hold numbers.
    """
    columns = list(dict.fromkeys(chain.from_iterable(lines)))
    heads = [_one_line(column) for column in columns]
    rows = [[_one_line(line.get(column, "")) for column in columns] for line in lines]
    to_left = [column in left for column in columns]
    if len(rows) > LONG:
        _print_long(heads, rows, to_left)
        return
    table = Table(box=None, pad_edge=False)
    for head, is_left in zip(heads, to_left, strict=True):
        table.add_column(escape(head), justify="left" if is_left else "right")
    for row in rows:
        table.add_row(*map(escape, row))
    print_wide(table)


def _print_long(heads: Sequence[str], rows: Sequence[Sequence[str]], to_left: Sequence[bool]) -> None:
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    form = "  ".join(f"{{:{'<' if left else '>'}{width}}}" for left, width in zip(to_left, widths, strict=True))
    for row in (heads, *rows):
        print(form.format(*row).rstrip())


def _one_line(cell: str) -> str:
    """Printable, without line feeds; quick for what most cells are."""
    return cell if cell.isprintable() and cell.isascii() else printable(cell).replace("\n", "\\n")


def without_constant(lines: Sequence[Mapping[str, str]], keep: Sequence[str]) -> tuple[list[dict[str, str]], str]:
    """The lines without the columns in which they do not differ, but for those of `keep`; and what those are."""
    columns = dict.fromkeys(chain.from_iterable(lines))
    met: dict[str, set[str]] = {column: set() for column in columns}
    for line in lines:  # once each: a long table is larger than the cache
        for column, values in met.items():
            values.add(line.get(column, ""))
    same = {c: lines[0].get(c, "") for c, values in met.items() if c not in keep and len(values) == 1}
    kept = [{column: value for column, value in line.items() if column not in same} for line in lines]
    return kept, ", ".join(f"{column} {value}" for column, value in same.items() if value)
