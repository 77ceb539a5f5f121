"""Side-by-side measurements against what a user would use instead; every ratio is from one run."""

import importlib
import json
import pkgutil
from collections.abc import Iterable

from retrieval_gap import environment
from retrieval_gap.errors import UsageError, unknown

Row = dict[str, str | float]


def benchmark_names() -> list[str]:
    """The modules of this package; each has `run()`, which yields rows as it measures them."""
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
            _print_lines(chosen, rows)


def _print_lines(title: str, rows: Iterable[Row]) -> None:
    print(f"{title}: {environment.hardware()}")
    print(f"{'ours':>10} {'theirs':>10} {'ratio':>8}  what; unit; against")
    for row in rows:
        ours, theirs = (f"{row[key]:,.4g}" for key in ("ours", "theirs"))
        what = f"{row['name']}; {row['unit']}; {row['against']}"
        print(f"{ours:>10} {theirs:>10} {row['ratio']:>7,.1f}x  {what}", flush=True)
