"""`retrieval-gap results`: tables of what was run."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import arg

from retrieval_gap.commands.flags import RunsDir


@dataclass(frozen=True, kw_only=True)
class Results:
    """Table of the runs in a folder: done, running, partial, failed; with a preset, what is missing too."""

    preset: Annotated[str, arg(help="show the cells of this preset only, and the missing ones")] = ""
    csv: Annotated[Path | None, arg(help="write the finished rows there")] = None
    runs_dir: RunsDir = Path("runs")

    def run(self) -> None:
        from retrieval_gap.experiments.results import show_results

        show_results(self.runs_dir, self.preset, self.csv)
