"""Tables for people."""

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

WIDTH = 160  # where there is no terminal


def print_wide(table: Table) -> None:
    """Prints a table as wide as the terminal, or as a file can take."""
    console = Console()
    (console if console.is_terminal else Console(width=WIDTH)).print(table)


def print_lines(lines: Sequence[Mapping[str, str]], *, left: Sequence[str] = ()) -> None:
    """Prints lines as a table, whose columns are all their keys in the order of their first appearance.

    left: the columns that are aligned to the left; the others hold numbers.
    """
    columns = list(dict.fromkeys(column for line in lines for column in line))
    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(escape(column), justify="left" if column in left else "right")
    for line in lines:
        table.add_row(*(escape(line.get(column, "")) for column in columns))
    print_wide(table)


def without_constant(lines: Sequence[Mapping[str, str]], keep: Sequence[str]) -> tuple[list[dict[str, str]], str]:
    """The lines without the columns in which they do not differ, but for those of `keep`; and what those are."""
    columns = list(dict.fromkeys(column for line in lines for column in line))
    same = {
        column: lines[0].get(column, "")
        for column in columns
        if column not in keep and len({line.get(column, "") for line in lines}) == 1
    }
    kept = [{column: value for column, value in line.items() if column not in same} for line in lines]
    return kept, ", ".join(f"{column} {value}" for column, value in same.items() if value)
