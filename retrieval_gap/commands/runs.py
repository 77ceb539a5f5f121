"""`retrieval-gap runs pack` and `unpack`: carry runs from one machine to another."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg, subcommand

from retrieval_gap.commands.flags import Only, RunsDir


@dataclass(frozen=True, kw_only=True)
class PackCommand:
    """Pack runs into one file, to unpack on another machine."""

    pack: Annotated[Positional[Path], arg(metavar="OUT.tar")]
    only: Only = ""
    runs_dir: RunsDir = Path("runs")

    def run(self) -> None:
        from retrieval_gap.runs.pack import pack

        pack(self.pack, self.runs_dir, self.only)


@dataclass(frozen=True, kw_only=True)
class UnpackCommand:
    """Unpack runs into a folder of runs; if a run is in both, the one that is further on is kept."""

    pack: Annotated[Positional[Path], arg(metavar="IN.tar")]
    runs_dir: RunsDir = Path("runs")

    def run(self) -> None:
        from retrieval_gap.runs.unpack import unpack

        unpack(self.pack, self.runs_dir)


@dataclass(frozen=True, kw_only=True)
class RunsCommand:
    """Move runs between machines."""

    action: Annotated[
        Annotated[PackCommand, subcommand("pack", prefix_name=False)]
        | Annotated[UnpackCommand, subcommand("unpack", prefix_name=False)],
        arg(name=""),
    ]

    def run(self) -> None:
        self.action.run()
