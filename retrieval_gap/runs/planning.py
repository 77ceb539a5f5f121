"""How long the cells of a sweep take.  A kind of experiment that can estimate it better has its own planner."""

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Protocol

from retrieval_gap.runs.known import KnownRun, known_runs


class Planner(Protocol):
    """Estimates the cost of cells.  places: one for each cell that can run in parallel."""

    def print_plan(self, cells: Sequence[KnownRun], runs_dir: Path, places: Sequence[str]) -> None:
        """Before a sweep: print what its cells will cost."""

    def print_left(self, cells: Sequence[KnownRun], runs_dir: Path, places: Sequence[str]) -> None:
        """After a sweep that was stopped: print what is done and what is left."""

    def seconds_left(self, cells: Sequence[KnownRun], runs_dir: Path, places: Sequence[str]) -> float:
        """Seconds until the last of these cells ends."""


class PacePlanner:
    """Estimates by the mean time of finished runs of the same kind in this folder; none before the first has ended."""

    def print_plan(self, cells: Sequence[KnownRun], runs_dir: Path, places: Sequence[str]) -> None:
        self.print_left(cells, runs_dir, places)

    def print_left(self, cells: Sequence[KnownRun], runs_dir: Path, places: Sequence[str]) -> None:
        hours = self.seconds_left(cells, runs_dir, places) / 3600
        told = f"about {hours:.2f} hours left" if hours else "no run here tells how long they take"
        print(f"{told}; {len(places)} at a time")

    def seconds_left(self, cells: Sequence[KnownRun], runs_dir: Path, places: Sequence[str]) -> float:
        kinds = {cell.experiment.kind for cell in cells if cell.experiment is not None}
        seconds = _seconds_of_done(runs_dir, kinds)
        left = [cell for cell in cells if not cell.run.is_over()]
        if not seconds or not left:
            return 0.0
        return fmean(seconds) * max(1.0, len(left) / max(1, len(places)))


def _seconds_of_done(runs_dir: Path, kinds: set[str]) -> list[float]:
    """The seconds that finished runs of these kinds took, from first start to result, by their files' times."""
    found = []
    for cell in known_runs(runs_dir) if runs_dir.is_dir() else []:
        if cell.experiment is None or cell.experiment.kind not in kinds or not cell.run.result.exists():
            continue
        began = cell.run.configuration.stat().st_mtime
        found.append(max(0.0, cell.run.result.stat().st_mtime - began))
    return found
