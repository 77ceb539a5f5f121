"""`retrieval-gap bench` and `doctor`: how fast this machine is, and what it has."""

from dataclasses import dataclass
from typing import Annotated

from tyro.conf import Positional, arg

from retrieval_gap.machine.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class BenchCommand:
    """Benchmark this project against other packages; prints ratios measured in the same run."""

    name: Annotated[Positional[str], arg(metavar="NAME", help="name of a benchmark; default: all")] = ""
    json: Annotated[bool, arg(help="print JSON, one object per line")] = False

    def run(self) -> None:
        try:
            from retrieval_gap.benchmarks import print_benchmarks
        except ModuleNotFoundError as error:
            if error.name != "retrieval_gap.benchmarks":
                raise
            raise UsageError(
                "benchmarks are not in an installed package; they come with a checkout, whose `make bench` runs them"
            ) from error

        print_benchmarks(self.name, as_json=self.json)


@dataclass(frozen=True, kw_only=True)
class DoctorCommand:
    """Print what this machine has, which backend each part will use, and why."""

    def run(self) -> None:
        from retrieval_gap.commands.doctor import print_report

        print_report()
