"""Side-by-side measurements against what a user would use instead; every ratio is from one run."""

import importlib
import json
import pkgutil

from rich.console import Console
from rich.table import Table

from retrieval_gap import environment
from retrieval_gap.errors import UsageError, unknown

Row = dict[str, str | float]


def benchmark_names() -> list[str]:
    """The modules of this package; each has `run() -> list[Row]`."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def print_benchmarks(name: str, *, as_json: bool) -> None:
    """Runs one benchmark, or all; prints each row as it is measured.

    Raises UsageError for an unknown name, or where the peer of a benchmark is not installed.
    """
    names = benchmark_names()
    if name and name not in names:
        raise unknown("benchmark", name, names)
    for chosen in [name] if name else names:
        try:
            rows = importlib.import_module(f"benchmarks.{chosen}").run()
        except ModuleNotFoundError as error:
            raise UsageError(f"benchmark {chosen} needs the package {error.name}: pip install {error.name}") from error
        if as_json:
            for row in rows:
                print(json.dumps(row | {"benchmark": chosen, "hardware": environment.hardware()}), flush=True)
        else:
            _print_table(chosen, rows)


def _print_table(title: str, rows: list[Row]) -> None:
    table = Table(title=f"{title}: {environment.hardware()}", title_justify="left", box=None, pad_edge=False)
    table.add_column("what")
    for column in ("ours", "theirs", "ratio"):
        table.add_column(column, justify="right")
    table.add_column("unit")
    table.add_column("against")
    for row in rows:
        ours, theirs = (f"{row[key]:,.4g}" for key in ("ours", "theirs"))
        table.add_row(str(row["name"]), ours, theirs, f"{row['ratio']:.1f}x", str(row["unit"]), str(row["against"]))
    console = Console()
    (console if console.is_terminal else Console(width=150)).print(table)
