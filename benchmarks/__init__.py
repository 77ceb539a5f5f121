"""Side-by-side measurements against what a user would use instead; every ratio is from one run."""

import importlib
import json
import pkgutil
import sys
import time
from collections.abc import Callable, Iterable

from retrieval_gap.machine import environment
from retrieval_gap.machine.devices import choose_device
from retrieval_gap.machine.errors import UsageError, unknown

Row = dict[str, str | float]


def row(name: str, ours: float, theirs: float, unit: str, against: str) -> Row:
    """A row of rates: the larger the ratio, the better."""
    return {"name": name, "ours": ours, "theirs": theirs, "ratio": ours / theirs, "unit": unit, "against": against}


def seconds_of(work: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    """Seconds of one call of `work`."""
    begin = clock()
    work()
    return clock() - begin


def least_in_turn(
    ours: Callable[[], object],
    theirs: Callable[[], object],
    rounds: int,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[float, float]:
    """The least seconds of each over `rounds` alternating calls, so that neither has a quieter machine or more luck."""
    pairs = [(seconds_of(theirs, clock), seconds_of(ours, clock)) for _ in range(rounds)]
    theirs_s, ours_s = zip(*pairs, strict=True)
    return min(ours_s), min(theirs_s)


def benchmark_names() -> list[str]:
    """The modules of this package; each has `run()`, which yields rows as it measures them, and NEEDS_GPU if it needs
    one."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def print_benchmarks(name: str, *, as_json: bool) -> None:
    """Run one benchmark, or all; print each row as it is measured, or a line if it needs a GPU and there is none.

    Raises UsageError for an unknown name, or if the peer of a benchmark is not installed.
    """
    names = benchmark_names()
    if name and name not in names:
        raise unknown("benchmark", name, names)
    for chosen in [name] if name else names:
        try:
            module = importlib.import_module(f"{__name__}.{chosen}")
            device = "cuda" if getattr(module, "NEEDS_GPU", False) else "cpu"
            if device == "cuda" and choose_device("auto").type != device:
                line = f"{chosen}: this is measured on a GPU, and torch finds none here; nothing was measured"
                print(line, file=sys.stderr if as_json else sys.stdout)
                continue
            rows = module.run()
        except ModuleNotFoundError as error:
            raise UsageError(f"benchmark {chosen} needs the package {error.name}: pip install {error.name}") from error
        if as_json:
            for told in rows:
                print(json.dumps(told | {"benchmark": chosen, "hardware": environment.hardware(device)}), flush=True)
        else:
            _print_lines(chosen, environment.hardware(device), rows)


def _print_lines(title: str, hardware: str, rows: Iterable[Row]) -> None:
    print(f"{title}: {hardware}")
    print(f"{'ours':>10} {'theirs':>10} {'ratio':>8}  what; unit; against")
    for told in rows:
        ours, theirs = (f"{told[key]:,.4g}" for key in ("ours", "theirs"))
        what = f"{told['name']}; {told['unit']}; {told['against']}"
        print(f"{ours:>10} {theirs:>10} {told['ratio']:>7,.3g}x  {what}", flush=True)
